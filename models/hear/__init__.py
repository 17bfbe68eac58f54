"""HEAR 2021 modules: each a module with the common API of that challenge.

`load_model`, `get_scene_embeddings`, `get_timestamp_embeddings`; all of them are made in
`models.hear.modules`, which is the table to read.
"""

"""HEAR 2021 modules: each a module with the common API of that challenge.

`load_model`, `get_scene_embeddings`, `get_timestamp_embeddings`; the table of them
is `models.hear.registry`.
"""

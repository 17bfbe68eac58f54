"""HEAR 2021 modules: Python modules with the common API of the HEAR challenge.

Each module listed in `models.hear.registry` has `load_model`, `get_scene_embeddings` and
`get_timestamp_embeddings`. They are built from `PasstWrapper`, the reference's interface to PaSST.
"""

"""Checkpoints of PaSST: downloading, caching, model stores, and checks of state dicts."""

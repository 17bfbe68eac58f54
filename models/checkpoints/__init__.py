"""State dicts: published ones, model stores, checks, downloads."""

"""The bytes of a shard's clips: local and downloaded files, prefetch, tars, Parquet, lazy reads."""

"""The `manifest` format: lists of recordings as CSV, JSON, Parquet or text, from many tools."""

"""Lists of recordings: CSV, JSON, Parquet, and the forms that other tools write."""

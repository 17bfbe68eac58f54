"""Limits on what a damaged or hostile Parquet or Arrow file can make its reader allocate."""

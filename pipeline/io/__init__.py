"""Filesystems and object stores: fsspec with retries, ranged reads, versions, redaction."""

"""Access to filesystems and object stores: retries, ranged reads, versions and redaction."""

"""A table that exists: verify, repair, rewrite, run record and status."""

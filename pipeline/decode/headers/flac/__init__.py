"""Readers of the length of a FLAC, from its metadata and frame headers."""

"""Readers of the length of an MP3, from its tags and frame headers."""

"""Limits around each call into a decoder: memory, plausible lengths, whose fault it was."""

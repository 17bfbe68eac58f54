"""Readers of the length that a file declares and of the length it holds, without decoding."""

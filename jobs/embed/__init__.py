"""One run of `passtream embed`."""

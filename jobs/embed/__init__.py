"""The modules that carry out one run of `passtream embed`."""

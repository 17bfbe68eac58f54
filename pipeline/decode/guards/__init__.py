"""Guards around decoders: a memory limit, a check of implausible lengths, clear error messages."""

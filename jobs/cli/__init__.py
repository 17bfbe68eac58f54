"""The `passtream` command: one module per command."""

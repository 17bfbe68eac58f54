"""The table: its spec, schema, commit records and row files."""

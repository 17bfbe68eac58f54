"""Which shards are left to embed, and what they will cost."""

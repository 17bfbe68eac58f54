"""The model's side of a shard: model protocol, dynamic batching, assembler, commit, canary."""

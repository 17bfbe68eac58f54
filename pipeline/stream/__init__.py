"""A shard as a stream of events: clip decoder, windows, packets."""

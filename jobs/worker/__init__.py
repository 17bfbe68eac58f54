"""What a worker process holds: the run's model, and the decode task."""

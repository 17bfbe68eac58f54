"""The contents of a worker process: the run's model and the decode task."""

"""Submission of runs to a Ray cluster as Ray Jobs, and the log of a submitted job."""

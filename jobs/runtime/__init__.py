"""One process of a run: log, monitor, progress, stop signals."""

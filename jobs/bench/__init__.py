"""The benchmarks behind `passtream bench`."""

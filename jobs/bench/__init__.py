"""Benchmarks behind `passtream bench`: model, decoding, planning, overhead and whole job."""

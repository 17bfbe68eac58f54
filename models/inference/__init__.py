"""Many windows at speed: packing, staging, CUDA graphs, batch size, timestamps, fidelity."""

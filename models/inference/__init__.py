"""Fast embedding of many windows: packing, staging, CUDA graphs, batch size, timestamps."""

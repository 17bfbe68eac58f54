"""One audio file to PCM: which decoder reads it, ranges of frames, resampling, levels, probing."""

"""Decoding of one audio file: choice of decoder, frame ranges, resampling, levels and probing."""

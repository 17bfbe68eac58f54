"""Synthetic inputs of the benchmarks of the model: noise, and clips of mixed lengths."""

import numpy as np

from models.archs import SAMPLE_RATE_HZ
from models.inference.embedder import Samples

MIX_CLIPS = 64
"""Number of clips of mixed lengths."""
MIX_S = (0.5, 10.0)
"""Shortest and longest clip of mixed lengths, in seconds."""


def make_noise(duration_s: float, seed: int) -> Samples:
    """Return float32 noise at 32 kHz that depends on the seed."""
    n_samples = round(duration_s * SAMPLE_RATE_HZ)
    return 0.1 * np.random.default_rng(seed).standard_normal(n_samples, dtype=np.float32)


def make_mixed_clips() -> list[Samples]:
    """Return `MIX_CLIPS` clips of noise, of random lengths within `MIX_S`."""
    rng = np.random.default_rng(0)
    return [make_noise(rng.uniform(*MIX_S), seed) for seed in range(MIX_CLIPS)]

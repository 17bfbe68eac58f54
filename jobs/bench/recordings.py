"""Recordings for the benches: noise, in real files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

_RATE_HZ = 44_100


def write_recordings(folder: Path, endings: Sequence[str], clips_s: Sequence[float]) -> None:
    """Write stereo recordings at 44.1 kHz, all of them in each format.

    Args:
        folder: where to.
        endings: of the files, as `.wav`, which make their formats.
        clips_s: seconds of each.
    """
    rng = np.random.default_rng(0)
    longest = round(max(clips_s) * _RATE_HZ)
    # Sums over 100 samples: softer towards high frequencies, as music is, so that FLAC shortens it.
    walk = np.cumsum(rng.standard_normal((2 * longest + 100, 2)), axis=0)
    noise = walk[100:] - walk[:-100]
    noise *= 0.5 / np.abs(noise).max()
    for ending in endings:
        for number, duration_s in enumerate(clips_s):
            start = int(rng.integers(longest))
            part = noise[start : start + round(duration_s * _RATE_HZ)]
            soundfile.write(folder / f"{number:03}{ending}", part, _RATE_HZ)

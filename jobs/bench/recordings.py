"""Audio files of noise, as input of benchmarks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

_RATE_HZ = 44_100


def write_recordings(folder: Path, endings: Sequence[str], clips_s: Sequence[float]) -> None:
    """Write stereo recordings at 44.1 kHz: for each ending, one file per length.

    Args:
        folder: Existing folder for the files.
        endings: Endings of file names, such as `.wav`; they select the containers.
        clips_s: Lengths of the recordings, in seconds.
    """
    rng = np.random.default_rng(0)
    longest = round(max(clips_s) * _RATE_HZ)
    # Sums over 100 samples have less energy at high frequencies, as music does. FLAC can therefore
    # compress them.
    sums = np.cumsum(rng.standard_normal((2 * longest + 100, 2)), axis=0)
    noise = sums[100:] - sums[:-100]
    noise *= 0.5 / np.abs(noise).max()
    for ending in endings:
        for number, duration_s in enumerate(clips_s):
            start = int(rng.integers(longest))
            part = noise[start : start + round(duration_s * _RATE_HZ)]
            soundfile.write(folder / f"{number:03}{ending}", part, _RATE_HZ)

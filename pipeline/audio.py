"""Audio as it flows after decoding: the sample type, the one sample rate, names of audio files."""

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

SAMPLE_RATE_HZ = 32_000
"""The rate that everything after decoding runs at."""


def to_samples(duration_s: float) -> int:
    """Seconds to samples at 32 kHz, to the nearest: the one rule, used everywhere."""
    return round(duration_s * SAMPLE_RATE_HZ)


# fmt: off
AUDIO_ENDINGS = (
    ".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".bw64", ".caf",
    ".flac", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".oga", ".ogg",
    ".opus", ".rf64", ".snd", ".sph", ".spx", ".tta", ".w64", ".wav", ".wave", ".webm", ".wma",
    ".wv",
)

"""Reader of 16-bit WAV files for benchmarks on machines without decoders; standard library."""

import wave

import numpy as np
import torch
from torchaudio.functional import resample

from models.archs import SAMPLE_RATE_HZ
from models.errors import ModelError
from models.inference.embedder import Samples

MAX_PART_S = 10
"""Length of the parts into which a recording is cut, in seconds."""
MIN_PART_S = 0.5
"""Length below which a part is dropped, in seconds."""


def read_wav_windows(path: str) -> list[Samples]:
    """Return the mono samples of a WAV file at 32 kHz, in parts of up to `MAX_PART_S`.

    Args:
        path: Path of the file.

    Raises:
        ModelError: The file is not a 16-bit WAV file, or is shorter than `MIN_PART_S`.
    """
    try:
        with wave.open(path) as file:
            if file.getsampwidth() != 2:
                raise ModelError(f"sounds: {path} has {8 * file.getsampwidth()} bits, not 16")
            frames = np.frombuffer(file.readframes(file.getnframes()), "<i2")
            channels, rate_hz = file.getnchannels(), file.getframerate()
    except (OSError, EOFError, wave.Error) as error:
        raise ModelError(f"sounds: {path} cannot be read as WAV: {error}") from error
    mono = torch.from_numpy(frames.reshape(-1, channels).mean(axis=1, dtype=np.float32) / 32768)
    samples = resample(mono, rate_hz, SAMPLE_RATE_HZ)
    parts = [part.numpy() for part in samples.split(MAX_PART_S * SAMPLE_RATE_HZ)]
    long_enough = [part for part in parts if len(part) / SAMPLE_RATE_HZ >= MIN_PART_S]
    if not long_enough:
        raise ModelError(f"sounds: {path} is shorter than {MIN_PART_S} s")
    return long_enough

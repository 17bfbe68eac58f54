"""Recordings for a bench on a machine without decoders: WAV of 16 bits, by the standard library."""

import wave

import numpy as np
import torch
from torchaudio.functional import resample

from models.archs import SAMPLE_RATE_HZ
from models.errors import ModelError
from models.inference.embedder import Samples

PART_S = 10
SHORTEST_S = 0.5


def read_wav_windows(path: str) -> list[Samples]:
    """Mono samples at 32 kHz of a WAV file, in parts of at most `PART_S`.

    Args:
        path: of the file.

    Raises:
        ModelError: it is something else, or too short.
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
    parts = [part.numpy() for part in samples.split(PART_S * SAMPLE_RATE_HZ)]
    found = [part for part in parts if len(part) / SAMPLE_RATE_HZ >= SHORTEST_S]
    if not found:
        raise ModelError(f"sounds: {path} is shorter than {SHORTEST_S} s")
    return found

"""Resampling of a stream of mono samples to 32 kHz, piece by piece.

soxr keeps its state from piece to piece, so the output does not depend on how the input was cut.
"""

import functools
from collections.abc import Iterator

import numpy as np
import soxr

from pipeline.audio import SAMPLE_RATE_HZ
from pipeline.samples import Samples


def resampled_length(n_frames: int, sample_rate_hz: int) -> int:
    """Return the number of samples at 32 kHz that `resample` yields.

    Args:
        n_frames: Number of samples before resampling.
        sample_rate_hz: Sample rate before resampling, in Hz.

    Raises:
        ValueError, RuntimeError: The sample rate is not accepted by soxr.
    """
    if sample_rate_hz == SAMPLE_RATE_HZ:
        return n_frames
    _check_rate(sample_rate_hz)
    # This is the order of operations in soxr (rate_flush); another order rounds differently.
    return int(n_frames / (sample_rate_hz / SAMPLE_RATE_HZ) + 0.5)


@functools.cache
def _check_rate(sample_rate_hz: int) -> None:
    soxr.ResampleStream(sample_rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")


def resample(pieces: Iterator[Samples], sample_rate_hz: int, max_samples: int) -> Iterator[Samples]:
    """Yield mono samples at 32 kHz; pieces that have this rate already are yielded unchanged.

    Args:
        pieces: Pieces of mono audio, float32 (frames,).
        sample_rate_hz: Sample rate of the pieces in Hz.
        max_samples: Approximate largest number of samples in a resampled piece.

    Raises:
        ValueError, RuntimeError: The sample rate is not accepted by soxr.
    """
    if sample_rate_hz == SAMPLE_RATE_HZ:
        yield from pieces
        return
    stream = soxr.ResampleStream(sample_rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")
    # At a very low rate, a resampled piece would be thousands of times as long as its input.
    step = max(1, max_samples * sample_rate_hz // SAMPLE_RATE_HZ)
    for piece in pieces:
        for start in range(0, len(piece), step):
            chunk = stream.resample_chunk(piece[start : start + step])
            if len(chunk):
                yield chunk
    rest = stream.resample_chunk(np.zeros(0, np.float32), last=True)
    if len(rest):
        yield rest

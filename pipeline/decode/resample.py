"""Resampling a stream of mono samples to 32 kHz, in pieces.

soxr keeps its state from piece to piece, so the output does not depend on how the input was cut.
"""

import functools
from collections.abc import Iterator

import numpy as np
import soxr

from pipeline.audio import SAMPLE_RATE_HZ
from pipeline.samples import Samples


def resampled_length(n_frames: int, sample_rate_hz: int) -> int:
    """Return the number of samples that `resample` makes of `n_frames`, by soxr's arithmetic.

    Raises:
        ValueError, RuntimeError: Soxr does not accept the rate.
    """
    if sample_rate_hz == SAMPLE_RATE_HZ:
        return n_frames
    _check_rate(sample_rate_hz)
    # The order of operations of soxr (rate_flush); another order rounds differently.
    return int(n_frames / (sample_rate_hz / SAMPLE_RATE_HZ) + 0.5)


@functools.cache
def _check_rate(sample_rate_hz: int) -> None:
    soxr.ResampleStream(sample_rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")


def resample(pieces: Iterator[Samples], sample_rate_hz: int, most: int) -> Iterator[Samples]:
    """Yield the pieces at 32 kHz; pieces of that rate are unchanged.

    Args:
        pieces: Float32 (frames,), mono.
        sample_rate_hz: Sample rate of the pieces.
        most: Approximate largest number of samples of a piece afterwards.

    Raises:
        ValueError, RuntimeError: Soxr does not accept the rate.
    """
    if sample_rate_hz == SAMPLE_RATE_HZ:
        yield from pieces
        return
    stream = soxr.ResampleStream(sample_rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")
    # A piece at a very low rate would become thousands of times as long.
    step = max(1, most * sample_rate_hz // SAMPLE_RATE_HZ)
    for piece in pieces:
        for start in range(0, len(piece), step):
            chunk = stream.resample_chunk(piece[start : start + step])
            if len(chunk):
                yield chunk
    rest = stream.resample_chunk(np.zeros(0, np.float32), last=True)
    if len(rest):
        yield rest

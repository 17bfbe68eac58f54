"""A stream of mono samples at any rate to one at 32 kHz, in pieces.

soxr keeps its state from piece to piece, so there are no seams: the output does not depend on how
the input was cut.
"""

import functools
from collections.abc import Iterator

import numpy as np
import soxr

from pipeline.audio import SAMPLE_RATE_HZ
from pipeline.samples import Samples


def resampled_length(n_frames: int, sample_rate_hz: int) -> int:
    """How many samples at 32 kHz `resample` makes of so many frames, by soxr's own arithmetic.

    Raises:
        ValueError, RuntimeError: soxr does not take the rate.
    """
    if sample_rate_hz == SAMPLE_RATE_HZ:
        return n_frames
    _check_rate(sample_rate_hz)
    # As soxr has it (rate_flush), in its order: another one rounds otherwise.
    return int(n_frames / (sample_rate_hz / SAMPLE_RATE_HZ) + 0.5)


@functools.cache
def _check_rate(sample_rate_hz: int) -> None:
    soxr.ResampleStream(sample_rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")


def resample(pieces: Iterator[Samples], sample_rate_hz: int, most: int) -> Iterator[Samples]:
    """The pieces at 32 kHz; at that rate already, as they are.

    Args:
        pieces: float32 (frames,), mono.
        sample_rate_hz: their rate.
        most: about how many samples a piece may have afterwards.

    Raises:
        ValueError, RuntimeError: soxr does not take the rate.
    """
    if sample_rate_hz == SAMPLE_RATE_HZ:
        yield from pieces
        return
    stream = soxr.ResampleStream(sample_rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")
    # A piece at a very low rate would come out thousands of times as long.
    step = max(1, most * sample_rate_hz // SAMPLE_RATE_HZ)
    for piece in pieces:
        for start in range(0, len(piece), step):
            chunk = stream.resample_chunk(piece[start : start + step])
            if len(chunk):
                yield chunk
    rest = stream.resample_chunk(np.zeros(0, np.float32), last=True)
    if len(rest):
        yield rest

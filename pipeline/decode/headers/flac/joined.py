"""Whether a file holds several FLACs, one after the other, and where each of them begins."""

import itertools
from typing import BinaryIO

from pipeline.decode.headers.flac.frame import (
    SIGNATURES,
    FlacStream,
    find_next_frame,
    iter_frames_backwards,
)

_SCAN_BYTES = 1 << 20
_WINDOW_BYTES = 1 << 16
_PLACES = (0.3, 0.5, 0.77)
"""Shares of a file. In equal FLACs that were joined, samples here are not in rising order."""
_SUSPECT = 1.5
_MOST_JOINED = 10_000


def find_flac_starts(file: BinaryIO, at: int) -> list[int]:
    """Return where FLACs begin in a file; it is read to its end.

    Args:
        file: File opened for reading; its position is moved.
        at: Offset to search from.
    """
    found: list[int] = []
    overlap = len(SIGNATURES[0]) - 1
    file.seek(at)
    content = b""
    while more := file.read(_SCAN_BYTES):
        content = content[-overlap:] + more
        at += len(more)
        for signature in SIGNATURES:
            place = content.find(signature)
            while place >= 0:
                found.append(at - len(content) + place)
                place = content.find(signature, place + 1)
                if len(found) > _MOST_JOINED:
                    raise ValueError(f"holds more than {_MOST_JOINED} FLACs that were joined")
    return sorted(found)


def may_be_joined(file: BinaryIO, start: int, end: int, n_samples: int, stream: FlacStream) -> bool:
    """Return whether a few frames of a file look as if they were of several FLACs.

    Args:
        file: File opened for reading; its position is moved.
        start: Offset of the first frame.
        end: Offset after the last one.
        n_samples: Number of the sample after the last one, in the last frame.
        stream: What STREAMINFO says.
    """
    n_bytes = end - start
    if n_bytes <= 2 * _WINDOW_BYTES:
        return bool(find_flac_starts(file, start))
    per_sample = min(_density(file, at, stream) for at in (start, end - _WINDOW_BYTES))
    if n_bytes <= _SUSPECT * per_sample * n_samples:
        return False
    found = [_sample_at(file, start + round(share * n_bytes), stream) for share in _PLACES]
    samples = [sample for sample in found if sample is not None]
    if len(samples) < len(found):
        return True  # frames of another kind, or none
    return any(later <= sooner for sooner, later in itertools.pairwise([*samples, n_samples]))


def _density(file: BinaryIO, at: int, stream: FlacStream) -> float:
    """Return bytes per sample in a window of a file; 0 where no frames are found in it."""
    file.seek(at)
    window = file.read(_WINDOW_BYTES)
    first_at, first = find_next_frame(window, 0, stream)
    last_at, last = next(iter_frames_backwards(window, stream), (0, None))
    if first is None or last is None or last.first <= first.first:
        return 0.0
    return (last_at - first_at) / (last.first - first.first)


def _sample_at(file: BinaryIO, at: int, stream: FlacStream) -> int | None:
    file.seek(at)
    window = file.read(max(_WINDOW_BYTES, 2 * stream.max_frame_bytes))
    _, frame = find_next_frame(window, 0, stream)
    return frame.first if frame else None

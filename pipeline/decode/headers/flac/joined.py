"""Detection of files that consist of several FLACs, joined one after another."""

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
_SHARES = (0.3, 0.5, 0.77)
"""Positions to check, as shares of the file.

If equal FLACs were joined, the sample indices at these positions do not increase.
"""
_MAX_SIZE_RATIO = 1.5
"""Ratio to the expected size above which a file is checked for joined FLACs."""
_MAX_JOINED = 10_000


def find_flac_starts(file: BinaryIO, at: int) -> list[int]:
    """Return the offsets at which FLACs begin; the file is read to its end.

    Args:
        file: File opened for reading; its position is moved.
        at: Offset to search from.

    Raises:
        ValueError: The file holds more than `_MAX_JOINED` FLACs.
    """
    found: list[int] = []
    overlap = len(SIGNATURES[0]) - 1
    file.seek(at)
    content = b""
    while more := file.read(_SCAN_BYTES):
        content = content[-overlap:] + more
        at += len(more)
        for signature in SIGNATURES:
            index = content.find(signature)
            while index >= 0:
                found.append(at - len(content) + index)
                index = content.find(signature, index + 1)
                if len(found) > _MAX_JOINED:
                    raise ValueError(f"holds more than {_MAX_JOINED} FLACs that were joined")
    return sorted(found)


def may_be_joined(file: BinaryIO, start: int, end: int, n_samples: int, stream: FlacStream) -> bool:
    """Return whether a file may hold several FLACs, judged by a few of its frames.

    Args:
        file: File opened for reading; its position is moved.
        start: Offset of the first frame.
        end: Offset after the last frame.
        n_samples: Index of the sample after the last frame, as that frame counts it.
        stream: STREAMINFO of the first FLAC.
    """
    n_bytes = end - start
    if n_bytes <= 2 * _WINDOW_BYTES:
        return bool(find_flac_starts(file, start))
    per_sample = min(_bytes_per_sample(file, at, stream) for at in (start, end - _WINDOW_BYTES))
    if n_bytes <= _MAX_SIZE_RATIO * per_sample * n_samples:
        return False
    found = [_sample_at(file, start + round(share * n_bytes), stream) for share in _SHARES]
    samples = [sample for sample in found if sample is not None]
    if len(samples) < len(found):
        return True  # frames of another stream, or no frames
    return any(later <= earlier for earlier, later in itertools.pairwise([*samples, n_samples]))


def _bytes_per_sample(file: BinaryIO, at: int, stream: FlacStream) -> float:
    """Return the bytes per sample in a window of a file; 0 if fewer than two frames are in it."""
    file.seek(at)
    window = file.read(_WINDOW_BYTES)
    first_at, first = find_next_frame(window, 0, stream)
    last_at, last = next(iter_frames_backwards(window, stream), (0, None))
    if first is None or last is None or last.first <= first.first:
        return 0.0
    return (last_at - first_at) / (last.first - first.first)


def _sample_at(file: BinaryIO, at: int, stream: FlacStream) -> int | None:
    """Return the index of the first sample of the next frame after an offset, or None."""
    file.seek(at)
    window = file.read(max(_WINDOW_BYTES, 2 * stream.max_frame_bytes))
    _, frame = find_next_frame(window, 0, stream)
    return frame.first if frame else None

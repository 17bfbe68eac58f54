"""The length of an MP3 from its first and last frames, without decoding.

If the file counts its own frames (`headers.mp3.tag`) and the count is not doubtful, that is its
length. In a small file all frames are counted. For others the length is estimated from the size of
the first frames: exact for a constant bit rate, a guess for a variable one.
"""

import os
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.decode.headers.declared_length import DeclaredLength
from pipeline.decode.headers.mp3.count import is_count_doubtful
from pipeline.decode.headers.mp3.frame_header import (
    HEADER_BYTES,
    PROBE_BYTES,
    Mp3FrameHeader,
    parse_frame_header,
    read_frame_headers,
)
from pipeline.decode.headers.mp3.frames import Mp3Frames, count_mp3_frames
from pipeline.decode.headers.mp3.tag import ASSUMED_DELAY, Mp3Info, read_mp3_info
from pipeline.decode.headers.tags import skip_id3
from pipeline.decode.mp3_stream import check_frames, is_joined

_WALKED_BYTES = 2 * PROBE_BYTES
_FARTHEST_BYTES = 1 << 24
_LONGEST_FRAME = 1441


@dataclass(frozen=True, slots=True)
class Mp3Length:
    """The length of an MP3.

    Attributes:
        sample_rate_hz: Sample rate.
        channels: Number of channels, 1 or 2.
        n_samples: Number of samples that it decodes to.
        is_exact: Whether `n_samples` is exact; otherwise it is an estimate.
        promise: Length that the file declares, and has; None where it declares none.
        has_gaps: Whether there is something other than frames between the frames.
    """

    sample_rate_hz: int
    channels: int
    n_samples: int
    is_exact: bool
    promise: DeclaredLength | None
    has_gaps: bool = False


def estimate_mp3_length(file: BinaryIO) -> Mp3Length | None:
    """Return the length of an MP3; None for other files, or if frames do not follow each other.

    Args:
        file: File opened for reading; its position is moved.

    Raises:
        CannotDecodeError: It holds a tag and no frames.
    """
    told = read_mp3_info(file)
    if told is None:
        return None
    start = skip_id3(file)
    size = file.seek(0, os.SEEK_END)
    file.seek(start)
    frames = read_frame_headers(file.read(PROBE_BYTES), is_complete=size - start <= PROBE_BYTES)
    if not frames:
        return None
    first = frames[0]
    if not is_count_doubtful(file, told):
        assert told.n_samples is not None
        promise = _promise(told, size - start)
        return Mp3Length(first.sample_rate_hz, first.channels, told.n_samples, True, promise)
    if size - start <= _WALKED_BYTES and (walk := count_mp3_frames(file)):
        check_frames(told, walk)
        return _of_walk(first, told, walk)
    end, is_cut = _end_of_frames(file, start, first)
    n_bytes = end - start
    promise = _promise(told, n_bytes, is_cut)
    is_exact = False
    if told.n_samples is None or told.n_bytes is None:
        n_samples = _guess(frames, n_bytes, told.has_tag) + told.n_in_tag
    elif n_bytes > told.n_bytes + _LONGEST_FRAME:
        n_samples = round(told.n_samples * n_bytes / told.n_bytes)
    else:
        n_samples, is_exact = told.n_samples, True
    return Mp3Length(first.sample_rate_hz, first.channels, n_samples, is_exact, promise)


def _promise(told: Mp3Info, n_bytes: int, is_cut: bool = False) -> DeclaredLength | None:
    if told.n_bytes is None:
        return DeclaredLength(None, is_cut=True) if is_cut else None
    return DeclaredLength(told.n_bytes, n_bytes, "bytes", _LONGEST_FRAME, is_cut)


def _of_walk(first: Mp3FrameHeader, told: Mp3Info, walk: Mp3Frames) -> Mp3Length:
    in_tag = told.frame_samples - told.n_in_tag
    n_samples = walk.n_samples - (in_tag if told.has_tag else ASSUMED_DELAY)
    promise = DeclaredLength(None, is_cut=True) if walk.is_cut else None
    if told.n_samples is not None:
        n_samples = max(0, n_samples - told.n_before)
        if not is_joined(told, walk):
            promise = DeclaredLength(
                told.n_samples, n_samples, "frames", told.frame_samples, walk.is_cut
            )
            n_samples = min(n_samples, told.n_samples)
    has_gaps = walk.n_gaps > 0
    return Mp3Length(
        first.sample_rate_hz, first.channels, max(0, n_samples), False, promise, has_gaps
    )


def _end_of_frames(file: BinaryIO, start: int, like: Mp3FrameHeader) -> tuple[int, bool]:
    """Return where the last frame ends, as blocks of the file tell, and whether it is cut.

    What follows the audio may be long: the last block with frames is searched from the end, in
    steps that grow, and then between the two that it must lie between.
    """
    size = file.seek(0, os.SEEK_END)

    def last_end(at: int) -> int | None:
        file.seek(at)
        end = _last_run(file.read(PROBE_BYTES), like)
        return None if end is None else at + end

    behind, step = size, PROBE_BYTES
    at = max(start, size - step)
    while (end := last_end(at)) is None:
        if at == start or step > _FARTHEST_BYTES:
            return size, False
        behind, step = at, 2 * step
        at = max(start, size - step)
    while behind - (at + PROBE_BYTES) > 0:
        middle = (at + PROBE_BYTES + behind) // 2 - PROBE_BYTES // 2
        middle = max(at + 1, min(middle, behind - 1))
        if (found := last_end(middle)) is None:
            behind = middle
        else:
            at, end = middle, found
    return min(end, size), end > size


def _last_run(block: bytes, like: Mp3FrameHeader) -> int | None:
    """Return the end of the last frame of a run of three in a block; None if there is no run."""
    at, end = 0, None
    while (at := block.find(b"\xff", at)) >= 0:
        n, to = 0, at
        while (frame := parse_frame_header(block[to : to + HEADER_BYTES])) and (
            frame.sample_rate_hz == like.sample_rate_hz
        ):
            n, to = n + 1, to + frame.n_bytes
        if n > 2:
            end, at = to, to
        else:
            at += 1
    return end


def _guess(frames: list[Mp3FrameHeader], n_bytes: int, has_tag: bool) -> int:
    """Estimate the samples of `n_bytes` of frames like the given ones."""
    n_samples = frames[0].n_samples
    if has_tag:  # the frame that it stands in has no audio
        frames, n_bytes = frames[1:], n_bytes - frames[0].n_bytes
    if not frames:
        return 0
    n_frames = round(n_bytes * len(frames) / sum(frame.n_bytes for frame in frames))
    return max(0, n_frames * n_samples - (0 if has_tag else ASSUMED_DELAY))

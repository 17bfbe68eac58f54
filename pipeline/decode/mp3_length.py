"""Estimation of the length of an MP3 from its first and last frames, without decoding.

If the tag of the file counts its frames (`headers.mp3.tag`), and the count is not doubtful, the
length follows from the count. If not, all frames of a small file are counted, and the length of a
large file is estimated from the size of its first frames. The estimate is good for a constant bit
rate, and rough for a variable bit rate.
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

_MAX_COUNTED_BYTES = 2 * PROBE_BYTES
"""Largest size of an MP3 whose frames are all counted, in bytes."""
_MAX_STEP_BYTES = 1 << 24
"""Step in bytes after which the backward search for the last frame gives up."""
_MAX_FRAME_BYTES = 1441
"""Largest size of an MP3 frame in bytes."""


@dataclass(frozen=True, slots=True)
class Mp3Length:
    """The length and the format of an MP3.

    Attributes:
        sample_rate_hz: Sample rate in Hz.
        channels: Number of channels, 1 or 2.
        n_samples: Number of samples per channel that the file decodes to.
        is_exact: Whether `n_samples` is exact; otherwise it is an estimate.
        promise: Length that the file declares, and the length that it holds; None if it declares
            none.
        has_gaps: Whether data that is not MP3 lies between the frames.
    """

    sample_rate_hz: int
    channels: int
    n_samples: int
    is_exact: bool
    promise: DeclaredLength | None
    has_gaps: bool = False


def estimate_mp3_length(file: BinaryIO) -> Mp3Length | None:
    """Return the length of an MP3; None if the file does not begin with consecutive MP3 frames.

    Args:
        file: File opened for reading; its position is moved.

    Raises:
        CannotDecodeError: The file holds a tag and no audio.
    """
    mp3_info = read_mp3_info(file)
    if mp3_info is None:
        return None
    start = skip_id3(file)
    size = file.seek(0, os.SEEK_END)
    file.seek(start)
    frames = read_frame_headers(file.read(PROBE_BYTES), is_complete=size - start <= PROBE_BYTES)
    if not frames:
        return None
    first = frames[0]
    if not is_count_doubtful(file, mp3_info):
        assert mp3_info.n_samples is not None
        declared_length = _declared_length(mp3_info, size - start)
        return Mp3Length(
            first.sample_rate_hz, first.channels, mp3_info.n_samples, True, declared_length
        )
    if size - start <= _MAX_COUNTED_BYTES and (counted := count_mp3_frames(file)):
        check_frames(mp3_info, counted)
        return _length_from_frames(first, mp3_info, counted)
    end, is_cut = _find_end_of_frames(file, start, first)
    n_bytes = end - start
    declared_length = _declared_length(mp3_info, n_bytes, is_cut)
    is_exact = False
    if mp3_info.n_samples is None or mp3_info.n_bytes is None:
        n_samples = _estimate_samples(frames, n_bytes, mp3_info.has_tag) + mp3_info.n_in_tag
    elif n_bytes > mp3_info.n_bytes + _MAX_FRAME_BYTES:
        n_samples = round(mp3_info.n_samples * n_bytes / mp3_info.n_bytes)
    else:
        n_samples, is_exact = mp3_info.n_samples, True
    return Mp3Length(first.sample_rate_hz, first.channels, n_samples, is_exact, declared_length)


def _declared_length(
    mp3_info: Mp3Info, n_bytes: int, is_cut: bool = False
) -> DeclaredLength | None:
    """Return the size in bytes that the tag declares, and the size of the frames in the file."""
    if mp3_info.n_bytes is None:
        return DeclaredLength(None, is_cut=True) if is_cut else None
    return DeclaredLength(mp3_info.n_bytes, n_bytes, "bytes", _MAX_FRAME_BYTES, is_cut)


def _length_from_frames(first: Mp3FrameHeader, mp3_info: Mp3Info, counted: Mp3Frames) -> Mp3Length:
    """Return the length of an MP3 whose frames have been counted."""
    tag_samples = mp3_info.frame_samples - mp3_info.n_in_tag
    n_samples = counted.n_samples - (tag_samples if mp3_info.has_tag else ASSUMED_DELAY)
    declared_length = DeclaredLength(None, is_cut=True) if counted.is_cut else None
    if mp3_info.n_samples is not None:
        n_samples = max(0, n_samples - mp3_info.n_before)
        if not is_joined(mp3_info, counted):
            declared_length = DeclaredLength(
                mp3_info.n_samples, n_samples, "frames", mp3_info.frame_samples, counted.is_cut
            )
            n_samples = min(n_samples, mp3_info.n_samples)
    has_gaps = counted.n_gaps > 0
    return Mp3Length(
        first.sample_rate_hz, first.channels, max(0, n_samples), False, declared_length, has_gaps
    )


def _find_end_of_frames(file: BinaryIO, start: int, first: Mp3FrameHeader) -> tuple[int, bool]:
    """Return the offset at which the last frame ends, and whether the file ends inside it.

    Much other data may follow the audio. A block that holds frames is therefore searched backwards
    from the end, in steps of growing size. The last block with frames is then found by bisection.

    Args:
        file: File opened for reading; its position is moved.
        start: Offset of the first frame.
        first: Header of the first frame.

    Returns:
        The offset and whether the file is cut; the size of the file if no frames are found.
    """
    size = file.seek(0, os.SEEK_END)

    def find_last_end(at: int) -> int | None:
        file.seek(at)
        end = _find_last_run(file.read(PROBE_BYTES), first)
        return None if end is None else at + end

    upper, step = size, PROBE_BYTES
    at = max(start, size - step)
    while (end := find_last_end(at)) is None:
        if at == start or step > _MAX_STEP_BYTES:
            return size, False
        upper, step = at, 2 * step
        at = max(start, size - step)
    while upper - (at + PROBE_BYTES) > 0:
        middle = (at + PROBE_BYTES + upper) // 2 - PROBE_BYTES // 2
        middle = max(at + 1, min(middle, upper - 1))
        if (found := find_last_end(middle)) is None:
            upper = middle
        else:
            at, end = middle, found
    return min(end, size), end > size


def _find_last_run(block: bytes, first: Mp3FrameHeader) -> int | None:
    """Return the end of the last run of three or more frames in a block; None if there is none."""
    at, end = 0, None
    while (at := block.find(b"\xff", at)) >= 0:
        n, end_at = 0, at
        while (frame := parse_frame_header(block[end_at : end_at + HEADER_BYTES])) and (
            frame.sample_rate_hz == first.sample_rate_hz
        ):
            n, end_at = n + 1, end_at + frame.n_bytes
        if n > 2:
            end, at = end_at, end_at
        else:
            at += 1
    return end


def _estimate_samples(frames: list[Mp3FrameHeader], n_bytes: int, has_tag: bool) -> int:
    """Return the samples in `n_bytes` of frames, estimated from the mean size of `frames`."""
    n_samples = frames[0].n_samples
    if has_tag:  # the frame with the tag holds no audio
        frames, n_bytes = frames[1:], n_bytes - frames[0].n_bytes
    if not frames:
        return 0
    n_frames = round(n_bytes * len(frames) / sum(frame.n_bytes for frame in frames))
    return max(0, n_frames * n_samples - (0 if has_tag else ASSUMED_DELAY))

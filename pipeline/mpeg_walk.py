"""The frames of an MP3, counted from header to header over the whole file.

An MP3 that does not count its own frames has no other witness of its length; decoders guess it from
the first ones. Nothing is decoded here: it takes a few hundredths of the time that decoding does.
"""

import os
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.mpeg import after_id3
from pipeline.mpeg_frame import HEAD_BYTES, HEADER_BYTES, MpegFrame, frame_of, frames_in

_BLOCK_BYTES = 1 << 20
_MORE_BYTES = 2048
"""Read beyond each block: the longest frame and the header behind it."""


@dataclass(frozen=True, slots=True)
class MpegFrames:
    """All frames of an MP3 that are there in full.

    Attributes:
        n_samples: that they decode to, those that the encoder added among them.
        end: where the last one ends, in bytes.
        is_uniform: they have one sample rate and one number of channels.
    """

    n_samples: int
    end: int
    is_uniform: bool


def mpeg_frames(file: BinaryIO) -> MpegFrames | None:
    """Count the frames; None where the file does not begin with one after another.

    What is no frame (tags, damage) is passed over, up to where two frames of one kind follow
    one another.

    Args:
        file: opened for reading; its position is moved.
    """
    size = file.seek(0, os.SEEK_END)
    at = after_id3(file)
    file.seek(at)
    head = frames_in(file.read(HEAD_BYTES), is_all=size - at <= HEAD_BYTES)
    if not head:
        return None
    known: dict[bytes, MpegFrame] = {}
    n_samples, end = 0, at
    while at <= size - HEADER_BYTES:
        file.seek(at)
        block = file.read(_BLOCK_BYTES + _MORE_BYTES)
        if len(block) < HEADER_BYTES:
            break  # it is being cut off while it is read
        n_here, end_here, within = _count(block, size - at, head[0], known)
        n_samples += n_here
        end = at + end_here if n_here else end
        at += within
    is_uniform = all(_is_alike(frame, head[0]) for frame in known.values())
    return MpegFrames(n_samples, end, is_uniform)


def _count(
    block: bytes, n_left: int, like: MpegFrame, known: dict[bytes, MpegFrame]
) -> tuple[int, int, int]:
    """The samples of the frames that begin here, where the last one ends, and where to go on.

    Args:
        block: bytes of the file; a frame or something else begins it.
        n_left: how many there are in the file, from the same place on.
        like: the first frame of the file.
        known: frames by their headers, to be filled.
    """
    n_samples = end = at = 0
    while at < min(_BLOCK_BYTES, len(block) - HEADER_BYTES + 1):
        header = block[at : at + HEADER_BYTES]
        frame = known.get(header)
        if frame is None:
            frame = frame_of(header)
            is_plain = frame is not None and _is_alike(frame, like)
            # One of another kind may be damage: there is another one behind it, or it is none.
            if not is_plain and (following := _next_frame(block, at)) > at:
                at = following
                continue
            assert frame
            known[header] = frame
        if at + frame.n_bytes > n_left:
            return n_samples, end, n_left  # it was cut off
        at += frame.n_bytes
        n_samples, end = n_samples + frame.n_samples, at
    return n_samples, end, at


def _next_frame(block: bytes, at: int) -> int:
    """Where two frames of one kind follow one another, or the end one; else where to look on."""
    while 0 <= (at := block.find(b"\xff", at)) < _BLOCK_BYTES:
        frame = frame_of(block[at : at + HEADER_BYTES])
        if frame:
            behind = block[at + frame.n_bytes : at + frame.n_bytes + HEADER_BYTES]
            other = frame_of(behind)
            if len(behind) < HEADER_BYTES or (other and _is_alike(frame, other)):
                return at
        at += 1
    return min(_BLOCK_BYTES, len(block))


def _is_alike(frame: MpegFrame, other: MpegFrame) -> bool:
    return (frame.sample_rate_hz, frame.channels) == (other.sample_rate_hz, other.channels)

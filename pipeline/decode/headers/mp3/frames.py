"""The frames of an MP3, counted from header to header over the whole file.

An MP3 that does not count its own frames has no other witness of its length; decoders guess it from
the first ones. What lies between the frames and is neither a frame nor a tag is damage, or titles
that a radio sent along; decoders pass over it without a word. Nothing is decoded here: it takes a
few hundredths of the time that decoding does.
"""

import os
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.decode.headers.mp3.frame_header import (
    PROBE_BYTES,
    HEADER_BYTES,
    Mp3FrameHeader,
    parse_frame_header,
    read_frame_headers,
)
from pipeline.decode.headers.tags import size_of_tag, skip_id3

_BLOCK_BYTES = 1 << 20
_MOST_DAMAGED = 64
_MORE_BYTES = 2048
"""Read beyond each block: the longest frame and the header behind it."""


@dataclass(frozen=True, slots=True)
class Mp3Frames:
    """All frames of an MP3 that are there in full.

    Attributes:
        n_samples: that they decode to, those that the encoder added among them.
        end: where the last one ends, in bytes.
        is_uniform: they have one sample rate and one number of channels.
        n_gaps: Number of places between frames that hold neither frames nor tags.
        is_cut: Whether the file ends inside a frame, or in damage that takes as many bytes as some
            frames of its constant size do.
    """

    n_samples: int
    end: int
    is_uniform: bool
    n_gaps: int = 0
    is_cut: bool = False


def count_mp3_frames(file: BinaryIO) -> Mp3Frames | None:
    """Count the frames; None where the file does not begin with one after another.

    What is no frame (tags, damage) is passed over, up to where two frames of one kind follow
    one another.

    Args:
        file: opened for reading; its position is moved.
    """
    size = file.seek(0, os.SEEK_END)
    at = skip_id3(file)
    file.seek(at)
    head = read_frame_headers(file.read(PROBE_BYTES), is_complete=size - at <= PROBE_BYTES)
    if not head:
        return None
    walk = _Walk(head[0], at, size)
    while walk.at <= size - HEADER_BYTES:
        file.seek(walk.at)
        block = file.read(_BLOCK_BYTES + _MORE_BYTES)
        if len(block) < HEADER_BYTES:
            break  # it is being cut off while it is read
        walk.count(block)
    file.seek(walk.end)
    rest = file.read(HEADER_BYTES)
    is_cut = walk.is_cut or (len(rest) < HEADER_BYTES and rest.startswith(b"\xff"))
    is_cut = is_cut or (walk.is_constant and _is_of_frames(file, walk, size - walk.end))
    n_gaps = sum(gap < walk.end for gap in walk.gaps)  # what follows the last frame is none
    return Mp3Frames(walk.n_samples, walk.end, walk.is_uniform, n_gaps, is_cut)


class _Walk:
    """A walk over the frames of a file.

    Args:
        like: The first frame.
        at: Offset of the first frame.
        size: Size of the file in bytes.

    Attributes:
        at: Offset at which to go on.
        end: Offset at which the last frame ends.
        n_samples: Samples of the frames so far.
        gaps: Ends of the frames that are followed by what is neither a frame nor a tag.
        is_cut: Whether the file ends inside the frame after the last one.
    """

    def __init__(self, like: Mp3FrameHeader, at: int, size: int) -> None:
        self.at = self.end = self._start = at
        self.n_samples = 0
        self.gaps: list[int] = []
        self.is_cut = False
        self._like = like
        self._size = size
        self._known: dict[bytes, Mp3FrameHeader] = {}

    @property
    def is_uniform(self) -> bool:
        return all(_is_alike(frame, self._like) for frame in self._known.values())

    @property
    def is_constant(self) -> bool:
        """Return whether nothing but frames of one size, padded or not, has come so far."""
        sizes = [frame.n_bytes for frame in self._known.values()]
        if not sizes:
            return False
        is_all = self.n_samples // self._like.n_samples * max(sizes) >= self.end - self._start
        return is_all and max(sizes) - min(sizes) <= 1

    @property
    def frame_bytes(self) -> float:
        """Return the mean size of the frames, of which there is at least one."""
        return (self.end - self._start) * self._like.n_samples / self.n_samples

    def count(self, block: bytes) -> None:
        """Count the frames that begin here, and move on.

        Args:
            block: Bytes of the file from `at` on; a frame or something else begins it.
        """
        start, n_left, known = self.at, self._size - self.at, self._known
        n_samples = end = at = 0
        while at < min(_BLOCK_BYTES, len(block) - HEADER_BYTES + 1):
            header = block[at : at + HEADER_BYTES]
            frame = known.get(header)
            if frame is None:
                frame = parse_frame_header(header)
                is_plain = frame is not None and _is_alike(frame, self._like)
                last_end = start + end if end else self.end
                # One of another kind may be damage: there is another one behind it, or it is none.
                if not is_plain and (following := self._after(block, at, last_end)) > at:
                    at = following
                    continue
                assert frame
                known[header] = frame
            if at + frame.n_bytes > n_left:
                self.is_cut = start + at == (start + end if end else self.end)
                at = n_left
                break
            at += frame.n_bytes
            n_samples, end = n_samples + frame.n_samples, at
        self.n_samples += n_samples
        self.end = start + end if end else self.end
        self.at = start + at

    def _after(self, block: bytes, at: int, last_end: int) -> int:
        """Return where to go on after what is no plain frame; `at` if it is one after all."""
        if (size := size_of_tag(block, at)) and self.at + at + size <= self._size:
            return at + size
        following = _next_frame(block, at)
        if following > at and self.gaps[-1:] != [last_end]:
            self.gaps.append(last_end)
        return following


def _is_of_frames(file: BinaryIO, walk: _Walk, n_bytes: int) -> bool:
    """Return whether the bytes after the last frame were frames before they were damaged.

    Only their number tells: whatever is put behind the audio has another one, but for chance.
    """
    n_frames = round(n_bytes / walk.frame_bytes) if walk.n_samples else 0
    if not 0 < n_frames <= _MOST_DAMAGED or abs(n_bytes - n_frames * walk.frame_bytes) > 1:
        return False
    file.seek(walk.end)
    rest = file.read(n_bytes)
    return not size_of_tag(rest, 0) and any(rest)


def _next_frame(block: bytes, at: int) -> int:
    """Where two frames of one kind follow one another, or the end one; else where to look on."""
    while 0 <= (at := block.find(b"\xff", at)) < _BLOCK_BYTES:
        frame = parse_frame_header(block[at : at + HEADER_BYTES])
        if frame:
            behind = block[at + frame.n_bytes : at + frame.n_bytes + HEADER_BYTES]
            other = parse_frame_header(behind)
            if len(behind) < HEADER_BYTES or (other and _is_alike(frame, other)):
                return at
        at += 1
    return min(_BLOCK_BYTES, len(block))


def _is_alike(frame: Mp3FrameHeader, other: Mp3FrameHeader) -> bool:
    return (frame.sample_rate_hz, frame.channels) == (other.sample_rate_hz, other.channels)

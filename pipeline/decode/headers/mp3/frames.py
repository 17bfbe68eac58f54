"""A counter of the frames of an MP3, which walks the whole file from header to header.

The length of an MP3 without a frame count is only known from its frames; decoders estimate it from
the first ones. Bytes between frames that are neither frame nor tag are damage, or titles from a
radio stream; decoders skip them without an error. Counting does not decode, so it takes a few
percent of the decoding time.
"""

import os
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.decode.headers.mp3.frame_header import (
    HEADER_BYTES,
    PROBE_BYTES,
    Mp3FrameHeader,
    parse_frame_header,
    read_frame_headers,
)
from pipeline.decode.headers.tags import size_of_tag, skip_id3

_BLOCK_BYTES = 1 << 20
_MAX_DAMAGED_FRAMES = 64
_MORE_BYTES = 2048
"""Number of bytes read beyond each block: the longest frame and the header after it."""


@dataclass(frozen=True, slots=True)
class Mp3Frames:
    """Summary of all complete frames of an MP3.

    Attributes:
        n_samples: Number of samples per channel that the frames decode to, including the encoder's
            delay and padding.
        end: Offset in the file at which the last frame ends.
        is_uniform: Whether all frames have the same sample rate and number of channels.
        n_gaps: Number of gaps between frames that hold neither frames nor tags.
        is_cut: Whether the file ends inside a frame, or in damage as long as a whole number of
            frames of constant size.
    """

    n_samples: int
    end: int
    is_uniform: bool
    n_gaps: int = 0
    is_cut: bool = False


def count_mp3_frames(file: BinaryIO) -> Mp3Frames | None:
    """Count the frames of an MP3; None if the file does not begin with consecutive frames.

    Tags and damage are skipped, up to the next two consecutive frames with the same sample rate
    and number of channels.

    Args:
        file: File opened for reading; its position is moved.
    """
    size = file.seek(0, os.SEEK_END)
    at = skip_id3(file)
    file.seek(at)
    headers = read_frame_headers(file.read(PROBE_BYTES), is_complete=size - at <= PROBE_BYTES)
    if not headers:
        return None
    counter = _FrameCounter(headers[0], at, size)
    while counter.at <= size - HEADER_BYTES:
        file.seek(counter.at)
        block = file.read(_BLOCK_BYTES + _MORE_BYTES)
        if len(block) < HEADER_BYTES:
            break  # another process is truncating the file
        counter.count(block)
    file.seek(counter.end)
    rest = file.read(HEADER_BYTES)
    is_cut = counter.is_cut or (len(rest) < HEADER_BYTES and rest.startswith(b"\xff"))
    is_cut = is_cut or (counter.is_constant and _ends_in_damage(file, counter, size - counter.end))
    n_gaps = sum(gap < counter.end for gap in counter.gaps)  # trailing bytes are no gap
    return Mp3Frames(counter.n_samples, counter.end, counter.is_uniform, n_gaps, is_cut)


class _FrameCounter:
    """A counter of frames that is fed a file block by block.

    Args:
        first: Header of the first frame.
        at: Offset of the first frame in the file.
        size: Size of the file in bytes.

    Attributes:
        at: Offset of the next block to feed.
        end: Offset at which the last complete frame ends.
        n_samples: Number of samples per channel in the frames counted so far.
        gaps: Offsets at which gaps begin. A gap holds neither frames nor tags.
        is_cut: Whether an incomplete frame directly follows the last complete one.
    """

    def __init__(self, first: Mp3FrameHeader, at: int, size: int) -> None:
        self.at = self.end = self._start = at
        self.n_samples = 0
        self.gaps: list[int] = []
        self.is_cut = False
        self._first = first
        self._size = size
        self._known: dict[bytes, Mp3FrameHeader] = {}

    @property
    def is_uniform(self) -> bool:
        """Whether all frames have the sample rate and the number of channels of the first."""
        return all(_is_same_kind(frame, self._first) for frame in self._known.values())

    @property
    def is_constant(self) -> bool:
        """Whether only frames of one size, with or without padding, have been found so far."""
        sizes = [frame.n_bytes for frame in self._known.values()]
        if not sizes:
            return False
        has_no_gaps = self.n_samples // self._first.n_samples * max(sizes) >= self.end - self._start
        return has_no_gaps and max(sizes) - min(sizes) <= 1

    @property
    def frame_bytes(self) -> float:
        """Mean size of the frames in bytes; at least one frame must have been counted."""
        return (self.end - self._start) * self._first.n_samples / self.n_samples

    def count(self, block: bytes) -> None:
        """Count the frames that begin in a block, and advance `at`.

        Args:
            block: Bytes of the file from offset `at` on.
        """
        start, n_left, known = self.at, self._size - self.at, self._known
        n_samples = end = at = 0
        while at < min(_BLOCK_BYTES, len(block) - HEADER_BYTES + 1):
            header = block[at : at + HEADER_BYTES]
            frame = known.get(header)
            if frame is None:
                frame = parse_frame_header(header)
                is_plain = frame is not None and _is_same_kind(frame, self._first)
                last_end = start + end if end else self.end
                # A frame of another kind may be damage. It counts only if another one follows.
                if not is_plain and (resume_at := self._resume_at(block, at, last_end)) > at:
                    at = resume_at
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

    def _resume_at(self, block: bytes, at: int, last_end: int) -> int:
        """Return the index in a block at which to continue, where no expected frame begins.

        A gap is recorded if bytes are skipped that are no tag. The result is `at` if a frame of
        another kind begins there.

        Args:
            block: Bytes of the file from offset `self.at` on.
            at: Index in the block.
            last_end: Offset in the file at which the last complete frame ends.
        """
        if (size := size_of_tag(block, at)) and self.at + at + size <= self._size:
            return at + size
        resume_at = _find_next_frame(block, at)
        if resume_at > at and self.gaps[-1:] != [last_end]:
            self.gaps.append(last_end)
        return resume_at


def _ends_in_damage(file: BinaryIO, counter: _FrameCounter, n_bytes: int) -> bool:
    """Return whether the bytes after the last complete frame are likely damaged frames.

    Damaged frames take a multiple of the frame size; other data after the audio does so only by
    chance.

    Args:
        file: File opened for reading; its position is moved.
        counter: Counter that has counted all frames of the file.
        n_bytes: Number of bytes after the last complete frame.
    """
    n_frames = round(n_bytes / counter.frame_bytes) if counter.n_samples else 0
    if not 0 < n_frames <= _MAX_DAMAGED_FRAMES or abs(n_bytes - n_frames * counter.frame_bytes) > 1:
        return False
    file.seek(counter.end)
    rest = file.read(n_bytes)
    return not size_of_tag(rest, 0) and any(rest)


def _find_next_frame(block: bytes, at: int) -> int:
    """Return the index of the next two frames of one kind, or the index at which to search on.

    A frame at the very end of the block counts alone, as the header after it is not in the block.

    Args:
        block: Part of a file.
        at: Index in the block to search from.
    """
    while 0 <= (at := block.find(b"\xff", at)) < _BLOCK_BYTES:
        frame = parse_frame_header(block[at : at + HEADER_BYTES])
        if frame:
            following = block[at + frame.n_bytes : at + frame.n_bytes + HEADER_BYTES]
            other = parse_frame_header(following)
            if len(following) < HEADER_BYTES or (other and _is_same_kind(frame, other)):
                return at
        at += 1
    return min(_BLOCK_BYTES, len(block))


def _is_same_kind(frame: Mp3FrameHeader, other: Mp3FrameHeader) -> bool:
    return (frame.sample_rate_hz, frame.channels) == (other.sample_rate_hz, other.channels)

"""The frames of a recording without a container, counted from header to header.

Such a file has no witness of its length but its frames. Decoders pass over what lies between them,
a frame that was cut off fails, and what follows the last one may be taken for audio. Nothing is
decoded here, which takes a few hundredths of the time that decoding does.
"""

import dataclasses
import os
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.decode.headers.bare_header import BARE_FORMATS, BareFormat
from pipeline.decode.headers.tags import size_of_tag, skip_id3

_BLOCK_BYTES = 1 << 20
_MORE_BYTES = 1 << 14
"""Read beyond each block: the longest frame, and the headers after it."""
_FIRST_BYTES, _HEAD_BYTES = 1 << 7, 1 << 15
_MOST_DAMAGED = 64
"""Frames at the end of which the bytes are still there, but no header."""


@dataclass(frozen=True, slots=True)
class BareFrames:
    """All frames of a recording that are there in full.

    Attributes:
        n_samples: Number of samples that they decode to, at the rate of their headers.
        start: Offset at which a decoder should begin.
        end: Offset at which the last one ends.
        n_gaps: Number of places between frames that hold neither frames nor tags.
        is_cut: Whether the file ends inside a frame, or in damage that takes as many bytes as some
            frames of its constant size do.
        rate_hz: Sample rate of `n_samples`; 0 where it is that of what is decoded.
    """

    n_samples: int
    start: int
    end: int
    n_gaps: int
    is_cut: bool
    rate_hz: int = 0


def find_bare_frames(file: BinaryIO, max_bytes: int | None = None) -> BareFrames | None:
    """Count the frames of a recording; None where it is of another format.

    Args:
        file: File opened for reading; its position is moved.
        most_bytes: Size of the largest file that is walked over; None for no limit.
    """
    start, size = skip_id3(file), file.seek(0, os.SEEK_END)
    if max_bytes is not None and size > max_bytes:
        return None
    file.seek(start)
    head = file.read(_FIRST_BYTES)
    forms = [form for form in BARE_FORMATS if _begins(head, form)]
    if not forms:
        return None
    head += file.read(_HEAD_BYTES)
    is_all = start + len(head) == size
    for form in forms:
        at = len(form.magic)
        if _is_run(head, at, form, at, is_all=is_all):
            walk = _Walk(form, start, start + at, size)
            walk.like = head[at : at + len(form.mask)]
            frames = walk.frames(file)
            rate_hz = form.rate_hz(head, at) if form.rate_hz else 0
            return dataclasses.replace(frames, rate_hz=rate_hz)
    return None


def _begins(head: bytes, form: BareFormat) -> bool:
    return head.startswith(form.magic) and form.parse_frame(head, len(form.magic))[0] > 0


class _Walk:
    def __init__(self, form: BareFormat, start: int, at: int, size: int) -> None:
        self._form = form
        self._start = start
        self._first = self._at = self._end = at
        self._size = size
        self._gaps: list[int] = []
        self._n_samples = self._n_frames = 0
        self._frame_sizes: set[int] = set()
        self._is_cut = self._is_lost = False
        self.like = b""

    def frames(self, file: BinaryIO) -> BareFrames:
        while self._at < self._size:
            file.seek(self._at)
            block = file.read(_BLOCK_BYTES + _MORE_BYTES)
            if not block:
                break  # it is being cut off while it is read
            self._count(block)
        n_gaps = sum(gap < self._end for gap in self._gaps)
        is_cut = self._is_cut or (not n_gaps and self._ends_in_damage(file))
        return BareFrames(self._n_samples, self._start, self._end, n_gaps, is_cut)

    def _count(self, block: bytes) -> None:
        start, n_left, frame_of = self._at, self._size - self._at, self._form.parse_frame
        sizes, at, end = self._frame_sizes, 0, None
        n_samples = n_frames = 0
        is_last = len(block) == n_left
        if self._is_lost:
            at = self._next_frame(block, 0, is_last)
        while at < min(_BLOCK_BYTES, len(block)):
            size, n = frame_of(block, at)
            if not size:
                at = self._after(block, at, start + end if end is not None else self._end, is_last)
                continue
            if at + size > n_left:
                self._is_cut = at == (end if end is not None else self._end - start)
                at = n_left
                break
            at += size
            end = at
            n_samples += n
            n_frames += 1
            if len(sizes) < 3:
                sizes.add(size)
        self._n_samples += n_samples
        self._n_frames += n_frames
        self._end = self._end if end is None else start + end
        self._at = start + at

    def _after(self, block: bytes, at: int, last_end: int, is_last: bool) -> int:
        """Return where to go on after what is no frame."""
        n_left = self._size - self._at - at
        if 0 < (size := size_of_tag(block, at)) <= n_left:
            return at + size
        rest = block[at:]
        if is_last and len(rest) < self._form.header_bytes and at + self._at == last_end:
            self._is_cut = rest[:1] == self._form.sync
        if self._gaps[-1:] != [last_end]:
            self._gaps.append(last_end)
        return self._next_frame(block, at + 1, is_last)

    def _next_frame(self, block: bytes, at: int, is_last: bool) -> int:
        form, end = self._form, min(_BLOCK_BYTES, len(block))
        self._is_lost = False
        while at < end:
            if form.sync and (at := block.find(form.sync, at, end)) < 0:
                break
            if _is_alike(block, at, self.like, form.mask) and _is_run(
                block, at, form, at, is_all=False
            ):
                return at
            at += 1
        self._is_lost = True
        return len(block) if is_last else end

    def _ends_in_damage(self, file: BinaryIO) -> bool:
        n_bytes = self._size - self._end
        if len(self._frame_sizes) != 1 or not 0 < n_bytes <= _MOST_DAMAGED * max(self._frame_sizes):
            return False
        if n_bytes % max(self._frame_sizes):
            return False
        file.seek(self._end)
        rest = file.read(n_bytes)
        return any(rest) and not size_of_tag(rest, 0)


def _is_run(content: bytes, at: int, form: BareFormat, like_at: int, *, is_all: bool) -> bool:
    """Return whether enough frames follow one another, or all that are there."""
    like = content[like_at : like_at + len(form.mask)]
    for n in range(form.min_run):
        size, _ = form.parse_frame(content, at)
        if not size or not _is_alike(content, at, like, form.mask):
            return n > 0 and is_all and at >= len(content)
        at += size
    return True


def _is_alike(content: bytes, at: int, like: bytes, mask: bytes) -> bool:
    head = content[at : at + len(mask)]
    return all(
        (one ^ other) & bits == 0 for one, other, bits in zip(head, like, mask, strict=False)
    )

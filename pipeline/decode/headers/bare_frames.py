"""A counter of the frames of a file without a container, which walks it from header to header.

The length of such a file is only known from its frames. Decoders skip bytes between frames, fail on
an incomplete frame, and may decode data after the last frame as audio. Counting does not decode, so
it takes a few percent of the decoding time.
"""

import dataclasses
import os
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.decode.headers.bare_header import BARE_FORMATS, BareFormat
from pipeline.decode.headers.tags import size_of_tag, skip_id3

_BLOCK_BYTES = 1 << 20
_MORE_BYTES = 1 << 14
"""Number of bytes read beyond each block: the longest frame and the headers after it."""
_FIRST_BYTES, _PROBE_BYTES = 1 << 7, 1 << 15
_MAX_DAMAGED = 64
"""Maximum number of frames at the end of a file whose headers may be damaged."""


@dataclass(frozen=True, slots=True)
class BareFrames:
    """Summary of all complete frames of a file without a container.

    Attributes:
        n_samples: Number of samples per channel that the frames decode to, at the rate that their
            headers declare.
        start: Offset in the file at which a decoder should begin.
        end: Offset in the file at which the last frame ends.
        n_gaps: Number of gaps between frames that hold neither frames nor tags.
        is_cut: Whether the file ends inside a frame, or in damage as long as a whole number of
            frames of constant size.
        rate_hz: Sample rate of `n_samples` in Hz; 0 if it is the rate of the decoded audio.
    """

    n_samples: int
    start: int
    end: int
    n_gaps: int
    is_cut: bool
    rate_hz: int = 0


def find_bare_frames(file: BinaryIO, max_bytes: int | None = None) -> BareFrames | None:
    """Count the frames of a file without a container; None if the file is of another kind.

    Args:
        file: File opened for reading; its position is moved.
        max_bytes: Maximum size of a file that is read, in bytes; for a larger file the result is
            None. None for no limit.
    """
    start, size = skip_id3(file), file.seek(0, os.SEEK_END)
    if max_bytes is not None and size > max_bytes:
        return None
    file.seek(start)
    content = file.read(_FIRST_BYTES)
    candidates = [form for form in BARE_FORMATS if _begins_with_frame(content, form)]
    if not candidates:
        return None
    content += file.read(_PROBE_BYTES)
    is_complete = start + len(content) == size
    for form in candidates:
        at = len(form.magic)
        if _is_run(content, at, form, at, is_complete=is_complete):
            counter = _FrameCounter(form, start, start + at, size)
            counter.first_header = content[at : at + len(form.mask)]
            frames = counter.count_all(file)
            rate_hz = form.rate_hz(content, at) if form.rate_hz else 0
            return dataclasses.replace(frames, rate_hz=rate_hz)
    return None


def _begins_with_frame(content: bytes, form: BareFormat) -> bool:
    return content.startswith(form.magic) and form.parse_frame(content, len(form.magic))[0] > 0


class _FrameCounter:
    """A counter of the frames of one file.

    Args:
        form: Format of the frames.
        start: Offset in the file after any ID3v2 tags.
        at: Offset in the file of the first frame.
        size: Size of the file in bytes.

    Attributes:
        first_header: Header of the first frame; all other headers must match it.
    """

    def __init__(self, form: BareFormat, start: int, at: int, size: int) -> None:
        self._form = form
        self._start = start
        self._first = self._at = self._end = at
        self._size = size
        self._gaps: list[int] = []
        self._n_samples = self._n_frames = 0
        self._frame_sizes: set[int] = set()
        self._is_cut = self._is_out_of_sync = False
        self.first_header = b""

    def count_all(self, file: BinaryIO) -> BareFrames:
        """Count all frames of the file, block by block."""
        while self._at < self._size:
            file.seek(self._at)
            block = file.read(_BLOCK_BYTES + _MORE_BYTES)
            if not block:
                break  # another process is truncating the file
            self._count_block(block)
        n_gaps = sum(gap < self._end for gap in self._gaps)
        is_cut = self._is_cut or (not n_gaps and self._ends_in_damage(file))
        return BareFrames(self._n_samples, self._start, self._end, n_gaps, is_cut)

    def _count_block(self, block: bytes) -> None:
        """Count the frames that begin in a block read at `_at`, and advance `_at`."""
        start, n_left, parse_frame = self._at, self._size - self._at, self._form.parse_frame
        sizes, at, end = self._frame_sizes, 0, None
        n_samples = n_frames = 0
        is_last = len(block) == n_left
        if self._is_out_of_sync:
            at = self._find_next_frame(block, 0, is_last)
        while at < min(_BLOCK_BYTES, len(block)):
            size, n = parse_frame(block, at)
            if not size:
                at = self._resume(block, at, start + end if end is not None else self._end, is_last)
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

    def _resume(self, block: bytes, at: int, last_end: int, is_last: bool) -> int:
        """Skip a tag or a gap, and return the index in a block at which to continue.

        Args:
            block: Bytes of the file from offset `_at` on.
            at: Index in the block at which no frame begins.
            last_end: Offset in the file at which the last complete frame ends.
            is_last: Whether the block reaches to the end of the file.
        """
        n_left = self._size - self._at - at
        if 0 < (size := size_of_tag(block, at)) <= n_left:
            return at + size
        rest = block[at:]
        if is_last and len(rest) < self._form.header_bytes and at + self._at == last_end:
            self._is_cut = rest[:1] == self._form.sync
        if self._gaps[-1:] != [last_end]:
            self._gaps.append(last_end)
        return self._find_next_frame(block, at + 1, is_last)

    def _find_next_frame(self, block: bytes, at: int, is_last: bool) -> int:
        """Return the index of the next frame in a block, or its end if the block has no more."""
        form, end = self._form, min(_BLOCK_BYTES, len(block))
        self._is_out_of_sync = False
        while at < end:
            if form.sync and (at := block.find(form.sync, at, end)) < 0:
                break
            if _matches(block, at, self.first_header, form.mask) and _is_run(
                block, at, form, at, is_complete=False
            ):
                return at
            at += 1
        self._is_out_of_sync = True
        return len(block) if is_last else end

    def _ends_in_damage(self, file: BinaryIO) -> bool:
        """Return whether the bytes after the last frame are likely frames of constant size."""
        n_bytes = self._size - self._end
        if len(self._frame_sizes) != 1 or not 0 < n_bytes <= _MAX_DAMAGED * max(self._frame_sizes):
            return False
        if n_bytes % max(self._frame_sizes):
            return False
        file.seek(self._end)
        rest = file.read(n_bytes)
        return any(rest) and not size_of_tag(rest, 0)


def _is_run(
    content: bytes, at: int, form: BareFormat, header_at: int, *, is_complete: bool
) -> bool:
    """Return whether enough consecutive frames begin at an index to exclude chance.

    Args:
        content: Part of a file.
        at: Index in `content` of the first frame.
        form: Format of the frames.
        header_at: Index in `content` of the header that all frames must match.
        is_complete: Whether `content` reaches to the end of the file. Fewer frames are then enough
            if they are all that the file has.
    """
    header = content[header_at : header_at + len(form.mask)]
    for n in range(form.min_run):
        size, _ = form.parse_frame(content, at)
        if not size or not _matches(content, at, header, form.mask):
            return n > 0 and is_complete and at >= len(content)
        at += size
    return True


def _matches(content: bytes, at: int, header: bytes, mask: bytes) -> bool:
    """Return whether the header at an index equals another header in the bits of a mask."""
    found = content[at : at + len(mask)]
    return all(
        (one ^ other) & bits == 0 for one, other, bits in zip(found, header, mask, strict=False)
    )

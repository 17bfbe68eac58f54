"""A search for the links of a chained Ogg file, which reads only parts of the file.

A chained file holds several streams one after another, called links. Radio recordings and joined
files are chained. Each link counts its samples from 0, so the last page of the file only gives the
length of the last link. Links usually differ in their serial numbers. Some encoders give all files
the same number. The file is then larger than its last position explains, or a position is smaller
than an earlier one.
"""

import os
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.decode.headers.ogg import (
    FIRST_PAGE,
    MAX_PAGE_BYTES,
    CodecParameters,
    OggAudio,
    OggPage,
    parse_parameters,
    read_ogg_pages,
)
from pipeline.decode.headers.tags import skip_id3
from pipeline.errors import CannotDecodeError

_WINDOW_BYTES = 2 * MAX_PAGE_BYTES
_MAX_READS = 200
_OPUS_RATE_HZ = 48_000
_MAX_SIZE_RATIO = 1.6
"""Maximum ratio of bytes per sample in a part of one stream to that of its first pages.

A larger ratio means that links are hidden. Silence at the start does not reach it in a file that is
long enough to be read in parts.
"""


@dataclass(frozen=True, slots=True)
class OggChain:
    """An Ogg file of several links.

    Attributes:
        n_links: Number of links that were found.
        position: Total length of the links in samples, without their pre-skip.
        is_opus: Whether `position` counts samples at 48 kHz, regardless of the decoded rate.
    """

    n_links: int
    position: int
    is_opus: bool = False

    def n_frames(self, rate_hz: int) -> int:
        """Return the total length of the links in samples at a sample rate.

        Args:
            rate_hz: Sample rate of the decoded audio in Hz.
        """
        return self.position * rate_hz // _OPUS_RATE_HZ if self.is_opus else self.position


def find_ogg_chain(file: BinaryIO, audio: OggAudio) -> OggChain | None:
    """Return the links of a chained Ogg file; None if it has one link or multiplexed streams.

    Args:
        file: File opened for reading; its position is moved.
        audio: First audio stream of the file.

    Raises:
        CannotDecodeError: The links differ in codec, sample rate or channels.
    """
    search = _LinkSearch(file, audio)
    return search.find_chain() if search.is_suspicious() else None


class _LinkSearch:
    """A bisection of an Ogg file for the first pages of its links.

    Args:
        file: File opened for reading; its position is moved.
        audio: First audio stream of the file.
    """

    def __init__(self, file: BinaryIO, audio: OggAudio) -> None:
        self._file = file
        self._audio = audio
        self._start = skip_id3(file)
        self._size = file.seek(0, os.SEEK_END)
        self._n_reads = 0
        self._pages: dict[int, OggPage] = {}
        self._bytes_per_sample = 0.0

    def is_suspicious(self) -> bool:
        """Return whether the first and the last pages cannot belong to a single link."""
        first_pages = self._read_window(self._start)
        is_complete = self._size - self._start <= _WINDOW_BYTES
        last_pages = first_pages if is_complete else self._read_window(self._size - _WINDOW_BYTES)
        if not first_pages or not last_pages or self._is_multiplexed(first_pages):
            return False
        if any(
            page.flags & FIRST_PAGE for at, page in first_pages + last_pages if at > self._start
        ):
            return True
        if last_pages[-1][1].serial != self._audio.serial:
            return True
        known = [(at, page.position) for at, page in first_pages if page.position > 0]
        end = max(page.position for _, page in last_pages)
        if is_complete or len(known) < 2 or known[-1][1] <= known[0][1]:
            return False
        self._bytes_per_sample = (known[-1][0] - known[0][0]) / (known[-1][1] - known[0][1])
        expected = (end - known[0][1]) * self._bytes_per_sample
        return self._size - self._start > _MAX_SIZE_RATIO * expected + _WINDOW_BYTES

    def find_chain(self) -> OggChain | None:
        """Return the links of the file, or None if it has a single link."""
        self._bisect(self._start, self._size)
        pages = [self._pages[at] for at in sorted(self._pages)]
        ends, position = [], 0
        for page in pages:
            if page.flags & FIRST_PAGE:
                ends.append(position)
                position = 0
                self._check_parameters(page)
            position = max(position, page.position)
        ends.append(position)
        n_links = len(ends) - 1
        if n_links < 2:
            return None
        position = sum(max(0, end - self._audio.pre_skip) for end in ends[1:])
        return OggChain(n_links, position, self._audio.codec == "opus")

    def _read_window(self, at: int) -> list[tuple[int, OggPage]]:
        """Read a window, and return its complete pages, each with its offset in the file."""
        self._n_reads += 1
        self._file.seek(at)
        found = [
            (at + index, page) for index, page in read_ogg_pages(self._file.read(_WINDOW_BYTES))
        ]
        self._pages.update(found)
        return found

    def _bisect(self, start: int, end: int) -> None:
        """Read the ends of a range, and divide it while links may be hidden between them.

        Args:
            start: Offset of the range in the file.
            end: Offset after the range.
        """
        ranges = [(start, end)]
        while ranges and self._n_reads < _MAX_READS:
            start, end = ranges.pop(0)
            before = self._read_window(start)
            after = self._read_window(max(start, end - _WINDOW_BYTES))
            if not before or not after:
                continue
            (last, last_page), first = before[-1], after[0][0]
            if first <= last + last_page.size or self._is_one_link(before, after):
                continue
            middle = (last + first) // 2
            ranges += [(last, middle), (middle, first)]

    def _is_one_link(
        self, before: list[tuple[int, OggPage]], after: list[tuple[int, OggPage]]
    ) -> bool:
        """Return whether everything between two groups of pages may belong to one link.

        Args:
            before: Pages at the start of a range, each with its offset.
            after: Pages at the end of the range, each with its offset.
        """
        known_before = [each for each in before if each[1].position >= 0]
        known_after = [each for each in after if each[1].position >= 0]
        if not known_before or not known_after:
            return False
        (last, last_page), (first, first_page) = known_before[-1], known_after[0]
        n_samples = first_page.position - last_page.position
        if last_page.serial != first_page.serial or n_samples < 0:
            return False
        max_bytes = _MAX_SIZE_RATIO * n_samples * self._bytes_per_sample
        return not self._bytes_per_sample or first - last <= max_bytes + MAX_PAGE_BYTES

    def _is_multiplexed(self, pages: list[tuple[int, OggPage]]) -> bool:
        """Return whether the file begins with the first pages of several streams."""
        n_first = 0
        for _, page in pages:
            if not page.flags & FIRST_PAGE:
                return n_first > 1
            n_first += 1
        return n_first > 1

    def _check_parameters(self, page: OggPage) -> None:
        """Raise CannotDecodeError if a link differs from the first in codec, rate or channels."""
        first, other = self._audio.parameters, parse_parameters(page.body)
        if first is None or other is None or first == other:
            return
        raise CannotDecodeError(
            "undecodable",
            f"changes from {describe_parameters(first)} to {describe_parameters(other)} where "
            "files were joined; split it there",
        )


def describe_parameters(parameters: CodecParameters) -> str:
    """Return codec parameters as text for a message.

    Args:
        parameters: Codec, sample rate and channels.
    """
    codec, rate_hz, channels = parameters
    return f"{codec} at {rate_hz} Hz with {channels} channel{'s' if channels > 1 else ''}"

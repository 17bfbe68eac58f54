"""The links of an Ogg file that several were joined to, found without reading all of it.

Radio dumps, and files that were joined, hold one stream after another. Each counts its samples from
0, and the last page of the file counts those of the last link alone. Links are told by their serial
numbers; some encoders give all their files the same one, which shows in that the file is larger
than the positions of its pages explain, or that a position is smaller than one before it.
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
_MOST_LOOKS = 200
_OPUS_RATE_HZ = 48_000
_SURPLUS = 1.6
"""Times as many bytes as the first pages need for as many samples: more than any silence explains
in a file that is long enough to be looked at in parts."""


@dataclass(frozen=True, slots=True)
class OggChain:
    """An Ogg file of several links.

    Attributes:
        n_links: How many links were found.
        position: Sum of the positions at the ends of the links, less what is not played.
        is_opus: Whether positions are counted at 48 kHz, whatever the rate is.
    """

    n_links: int
    position: int
    is_opus: bool = False

    def n_frames(self, rate_hz: int) -> int:
        """Return the length of all links together.

        Args:
            rate_hz: Sample rate that they are decoded to.
        """
        return self.position * rate_hz // _OPUS_RATE_HZ if self.is_opus else self.position


def find_ogg_chain(file: BinaryIO, audio: OggAudio) -> OggChain | None:
    """Return the links of an Ogg file; None where it has one, or several streams at once.

    Args:
        file: File opened for reading; its position is moved.
        audio: The first audio stream.

    Raises:
        CannotDecodeError: The links differ in codec, sample rate or channels.
    """
    search = _Search(file, audio)
    return search.chain() if search.is_suspicious() else None


class _Search:
    def __init__(self, file: BinaryIO, audio: OggAudio) -> None:
        self._file = file
        self._audio = audio
        self._start = skip_id3(file)
        self._size = file.seek(0, os.SEEK_END)
        self._n_looks = 0
        self._pages: dict[int, OggPage] = {}
        self._bytes_per_step = 0.0

    def is_suspicious(self) -> bool:
        """Return whether the first and the last pages do not fit one link."""
        head = self._look(self._start)
        is_all = self._size - self._start <= _WINDOW_BYTES
        tail = head if is_all else self._look(self._size - _WINDOW_BYTES)
        if not head or not tail or self._is_multiplexed(head):
            return False
        if any(page.flags & FIRST_PAGE for at, page in head + tail if at > self._start):
            return True
        if tail[-1][1].serial != self._audio.serial:
            return True
        known = [(at, page.position) for at, page in head if page.position > 0]
        end = max(page.position for _, page in tail)
        if is_all or len(known) < 2 or known[-1][1] <= known[0][1]:
            return False
        self._bytes_per_step = (known[-1][0] - known[0][0]) / (known[-1][1] - known[0][1])
        explained = (end - known[0][1]) * self._bytes_per_step
        return self._size - self._start > _SURPLUS * explained + _WINDOW_BYTES

    def chain(self) -> OggChain | None:
        self._narrow(self._start, self._size)
        pages = [self._pages[at] for at in sorted(self._pages)]
        ends, position = [], 0
        for page in pages:
            if page.flags & FIRST_PAGE:
                ends.append(position)
                position = 0
                self._check_alike(page)
            position = max(position, page.position)
        ends.append(position)
        n_links = len(ends) - 1
        if n_links < 2:
            return None
        position = sum(max(0, end - self._audio.pre_skip) for end in ends[1:])
        return OggChain(n_links, position, self._audio.codec == "opus")

    def _look(self, at: int) -> list[tuple[int, OggPage]]:
        """Return the offsets and the whole pages that begin in a window."""
        self._n_looks += 1
        self._file.seek(at)
        found = [
            (at + within, page) for within, page in read_ogg_pages(self._file.read(_WINDOW_BYTES))
        ]
        self._pages.update(found)
        return found

    def _narrow(self, start: int, end: int) -> None:
        """Look at a range, and at parts of it until nothing can hide between the pages seen."""
        ranges = [(start, end)]
        while ranges and self._n_looks < _MOST_LOOKS:
            start, end = ranges.pop(0)
            before = self._look(start)
            after = self._look(max(start, end - _WINDOW_BYTES))
            if not before or not after:
                continue
            (last, last_page), first = before[-1], after[0][0]
            if first <= last + last_page.size or self._is_one(before, after):
                continue
            middle = (last + first) // 2
            ranges += [(last, middle), (middle, first)]

    def _is_one(self, before: list[tuple[int, OggPage]], after: list[tuple[int, OggPage]]) -> bool:
        """Return whether all between some pages and later ones can be of one link."""
        known_before = [each for each in before if each[1].position >= 0]
        known_after = [each for each in after if each[1].position >= 0]
        if not known_before or not known_after:
            return False
        (last, last_page), (first, first_page) = known_before[-1], known_after[0]
        n_steps = first_page.position - last_page.position
        if last_page.serial != first_page.serial or n_steps < 0:
            return False
        most = _SURPLUS * n_steps * self._bytes_per_step
        return not self._bytes_per_step or first - last <= most + MAX_PAGE_BYTES

    def _is_multiplexed(self, head: list[tuple[int, OggPage]]) -> bool:
        """Return whether the first pages of several streams come before all others."""
        n_first = 0
        for _, page in head:
            if not page.flags & FIRST_PAGE:
                return n_first > 1
            n_first += 1
        return n_first > 1

    def _check_alike(self, page: OggPage) -> None:
        one, other = self._audio.parameters, parse_parameters(page.body)
        if one is None or other is None or one == other:
            return
        raise CannotDecodeError(
            "undecodable",
            f"changes from {describe_parameters(one)} to {describe_parameters(other)} where files were joined; split it "
            "there",
        )


def describe_parameters(layout: CodecParameters) -> str:
    """Return a layout in words."""
    codec, rate_hz, channels = layout
    return f"{codec} at {rate_hz} Hz with {channels} channel{'s' if channels > 1 else ''}"

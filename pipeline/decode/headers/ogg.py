"""A parser of Ogg pages (RFC 3533) that finds the first audio stream and the end of the file.

The last page of a stream carries an end flag and the stream's position at its end. A truncated file
lacks the flag, and the length of the missing part is unknown.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from pipeline.decode.headers.tags import skip_id3

CodecParameters = tuple[str, int, int]
"""Name of the codec, sample rate in Hz, and number of channels."""

_MAGIC = b"OggS"
_HEADER_BYTES = 27
MAX_PAGE_BYTES = _HEADER_BYTES + 255 + 255 * 255
_TAIL_BYTES = 2 * MAX_PAGE_BYTES
FIRST_PAGE, _LAST_PAGE = 2, 4
_NO_POSITION = -1
_MAX_STREAMS = 64
_CODECS = {
    b"\x01vorbis": "vorbis",
    b"OpusHead": "opus",
    b"\x7fFLAC": "flac",
    b"Speex   ": "speex",
}
_PRE_SKIP_AT = 10


@dataclass(frozen=True, slots=True)
class OggAudio:
    """The first audio stream of an Ogg file.

    Attributes:
        serial: Serial number of the stream.
        codec: Codec: `vorbis`, `opus`, `flac` or `speex`.
        pre_skip: Number of samples at the start that decoders drop (at 48 kHz; 0 except for Opus).
        parameters: Codec parameters; None if unknown. Not compared.
    """

    serial: int
    codec: str
    pre_skip: int
    parameters: CodecParameters | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class OggEnd:
    """The end of an Ogg file.

    Attributes:
        is_marked: Whether the last page of the last stream carries the end flag.
        position: Length of the audio stream in samples (Opus: at 48 kHz), without its pre-skip.
            None if another stream follows, or if the last pages hold no position.
        is_one_page: Whether all audio is on one page.
        has_gaps: Whether other data lies between the last pages or after them.
    """

    is_marked: bool
    position: int | None
    is_one_page: bool = False
    has_gaps: bool = False


@dataclass(frozen=True, slots=True)
class OggPage:
    """A page of an Ogg file.

    Attributes:
        flags: Header type flags: `FIRST_PAGE` and others.
        position: Granule position at the end of the page, in samples; -1 if no packet ends on it.
        serial: Serial number of the page's stream.
        body: Content of the page after its header.
        size: Size of the page in bytes, including its header.
    """

    flags: int
    position: int
    serial: int
    body: bytes
    size: int


def read_ogg_header(file: BinaryIO) -> OggAudio | None:
    """Return the first audio stream; None if the file is no Ogg file or has no known codec.

    Args:
        file: File opened for reading; its position is moved.
    """
    start = skip_id3(file)
    for _ in range(_MAX_STREAMS):
        file.seek(start)
        page = _parse_page(file.read(MAX_PAGE_BYTES))
        if page is None or not page.flags & FIRST_PAGE:
            return None
        for magic, codec in _CODECS.items():
            if page.body.startswith(magic):
                pre_skip = page.body[_PRE_SKIP_AT : _PRE_SKIP_AT + 2] if codec == "opus" else b""
                skipped = int.from_bytes(pre_skip, "little")
                return OggAudio(page.serial, codec, skipped, parse_parameters(page.body))
        start += page.size
    return None


def find_ogg_end(file: BinaryIO, audio: OggAudio) -> OggEnd | None:
    """Return the end of an Ogg file, read from its last complete pages.

    Args:
        file: File opened for reading; its position is moved.
        audio: First audio stream of the file.

    Returns:
        The end of the file. None if the last pages belong to several streams and none of them to
        the audio stream, or if there are no pages.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read(_TAIL_BYTES)
    pages = list(_iter_pages_backwards(tail))
    if not pages:
        return None
    own = [page for page in pages if page.serial == audio.serial]
    if not own:
        # Another stream follows the first one. No page holds their total length.
        is_chain = all(page.serial == pages[0].serial for page in pages)
        return OggEnd(bool(pages[0].flags & _LAST_PAGE), None) if is_chain else None
    position = next((page.position for page in own if page.position != _NO_POSITION), None)
    last = own[0]
    if any(page.flags & FIRST_PAGE for page in pages[: pages.index(own[0])]):
        position, last = None, pages[0]  # the last page belongs to a later stream
    # Codec headers are on separate pages, with position 0.
    n_audio_pages = sum(page.position != 0 for page in own)
    return OggEnd(
        bool(last.flags & _LAST_PAGE),
        None if position is None else max(0, position - audio.pre_skip),
        is_one_page=size <= _TAIL_BYTES and n_audio_pages == 1,
        has_gaps=_has_gaps(tail),
    )


def _parse_page(content: bytes, at: int = 0) -> OggPage | None:
    """Return the page that begins at an index, or None if no complete page does."""
    if len(content) < at + _HEADER_BYTES or content[at : at + 5] != _MAGIC + b"\0":
        return None
    flags, position, serial = struct.unpack_from("<BqI", content, at + 5)
    body_at = at + _HEADER_BYTES + content[at + 26]
    end = body_at + sum(content[at + _HEADER_BYTES : body_at])
    if len(content) < end:
        return None
    return OggPage(flags, position, serial, content[body_at:end], end - at)


def _iter_pages_backwards(tail: bytes) -> Iterator[OggPage]:
    """Yield the complete pages of some bytes, the last first."""
    at = len(tail)
    while (at := tail.rfind(_MAGIC, 0, at)) >= 0:
        if page := _parse_page(tail, at):
            yield page


def _has_gaps(tail: bytes) -> bool:
    """Return whether other data lies between the pages at the end of a file, or after them."""
    next_at: int | None = None
    for at, page in read_ogg_pages(tail):
        if next_at not in (None, at):
            return True
        next_at = at + page.size
    return next_at != len(tail)


def read_ogg_pages(content: bytes) -> Iterator[tuple[int, OggPage]]:
    """Yield the complete pages in a part of a file, each with its index in that part."""
    at = 0
    while (at := content.find(_MAGIC, at)) >= 0:
        page = _parse_page(content, at)
        if page:
            yield at, page
        at += page.size if page else 1


def parse_parameters(body: bytes) -> CodecParameters | None:
    """Return the codec parameters in the first page of a stream; None if they are unknown.

    Args:
        body: Content of the page after its header.
    """
    if body.startswith(b"\x01vorbis") and len(body) >= 16:
        return "Vorbis", *struct.unpack_from("<I", body, 12), body[11]
    if body.startswith(b"OpusHead") and len(body) >= 10:
        return "Opus", 48_000, body[9]
    if body.startswith(b"Speex   ") and len(body) >= 52:
        rate_hz, channels = struct.unpack_from("<I", body, 36)[0], body[48]
        return "Speex", rate_hz, channels
    if body.startswith(b"\x7fFLAC") and len(body) >= 30:
        packed = int.from_bytes(body[27:30], "big")
        return "FLAC", packed >> 4, (packed >> 1 & 7) + 1
    return None

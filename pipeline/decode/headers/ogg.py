"""What an Ogg file holds, and what its last page says of its end; the format is RFC 3533's.

The last page of a stream carries a flag, and the stream's position at its end. A file that was cut
off lacks the flag, and nobody can say how much of it is missing.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from pipeline.decode.headers.tags import skip_id3

CodecParameters = tuple[str, int, int]

_MAGIC = b"OggS"
_HEADER_BYTES = 27
MAX_PAGE_BYTES = _HEADER_BYTES + 255 + 255 * 255
_TAIL_BYTES = 2 * MAX_PAGE_BYTES
FIRST_PAGE, _LAST = 2, 4
_NO_POSITION = -1
_MOST_STREAMS = 64
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
        serial: its number.
        codec: `vorbis`, `opus`, `flac` or `speex`.
        pre_skip: positions at its start that are not played.
        layout: Codec, sample rate and channels; None where they are not known; not compared.
    """

    serial: int
    codec: str
    pre_skip: int
    parameters: CodecParameters | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class OggEnd:
    """The end of an Ogg file.

    Attributes:
        is_marked: the last page says that it is the last.
        position: of the audio stream's end in samples (Opus: at 48 kHz), less its pre-skip. None
            where other streams follow it, or the last pages do not say.
        is_one_page: all of the audio is on one page.
        has_gaps: Whether something else than pages lies between the last pages, or behind them.
    """

    is_marked: bool
    position: int | None
    is_one_page: bool = False
    has_gaps: bool = False


@dataclass(frozen=True, slots=True)
class OggPage:
    """A page.

    Attributes:
        flags: Its flags.
        position: Position at its end, in samples; -1 where no packet ends on it.
        serial: Number of its stream.
        body: Its packets.
        size: Size of all of it in bytes.
    """

    flags: int
    position: int
    serial: int
    body: bytes
    size: int


def read_ogg_header(file: BinaryIO) -> OggAudio | None:
    """The first audio stream; None where the file is no Ogg, or has no audio that we know.

    Args:
        file: opened for reading; its position is moved.
    """
    start = skip_id3(file)
    for _ in range(_MOST_STREAMS):
        file.seek(start)
        page = _page(file.read(MAX_PAGE_BYTES))
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
    """What the last whole pages say; None where there is no page of the audio among them.

    Args:
        file: opened for reading; its position is moved.
        audio: its audio stream.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read(_TAIL_BYTES)
    pages = list(_pages_from_the_end(tail))
    if not pages:
        return None
    own = [page for page in pages if page.serial == audio.serial]
    if not own:
        # A stream after the first one: how long they are together is told nowhere.
        is_chain = all(page.serial == pages[0].serial for page in pages)
        return OggEnd(bool(pages[0].flags & _LAST), None) if is_chain else None
    position = next((page.position for page in own if page.position != _NO_POSITION), None)
    last = own[0]
    if any(page.flags & FIRST_PAGE for page in pages[: pages.index(own[0])]):
        position, last = None, pages[0]  # which is of another stream, after this one
    # The heads, on pages of their own, have position 0.
    n_audio_pages = sum(page.position != 0 for page in own)
    return OggEnd(
        bool(last.flags & _LAST),
        None if position is None else max(0, position - audio.pre_skip),
        is_one_page=size <= _TAIL_BYTES and n_audio_pages == 1,
        has_gaps=_has_gaps(tail),
    )


def _page(content: bytes, at: int = 0) -> OggPage | None:
    """The page that begins somewhere in the content, if all of it is there."""
    if len(content) < at + _HEADER_BYTES or content[at : at + 5] != _MAGIC + b"\0":
        return None
    flags, position, serial = struct.unpack_from("<BqI", content, at + 5)
    body_at = at + _HEADER_BYTES + content[at + 26]
    end = body_at + sum(content[at + _HEADER_BYTES : body_at])
    if len(content) < end:
        return None
    return OggPage(flags, position, serial, content[body_at:end], end - at)


def _pages_from_the_end(tail: bytes) -> Iterator[OggPage]:
    at = len(tail)
    while (at := tail.rfind(_MAGIC, 0, at)) >= 0:
        if page := _page(tail, at):
            yield page


def _has_gaps(tail: bytes) -> bool:
    """Return whether pages do not follow each other up to the end of a file."""
    behind: int | None = None
    for at, page in read_ogg_pages(tail):
        if behind not in (None, at):
            return True
        behind = at + page.size
    return behind != len(tail)


def read_ogg_pages(content: bytes) -> Iterator[tuple[int, OggPage]]:
    """Yield the whole pages that begin in some bytes of a file, each with its offset."""
    at = 0
    while (at := content.find(_MAGIC, at)) >= 0:
        page = _page(content, at)
        if page:
            yield at, page
        at += page.size if page else 1


def parse_parameters(body: bytes) -> CodecParameters | None:
    """Return codec, sample rate and channels of the stream that a page begins; None if unknown."""
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

"""The members of a tar as a stream, from its start to its end.

Only regular members and hard links are yielded. Data after the end mark is an error.
"""

import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import quote

from pipeline.audio import AUDIO_ENDINGS
from pipeline.io.decompress import compression_of, open_decompressed
from pipeline.readers.intake import LINK_KIND, Intake
from pipeline.readers.tar.headers import Header, headers

DAMAGE = (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError)
"""Exceptions of reading a damaged tar."""
PIECE_BYTES = 1 << 20
_ZEROS = bytes(PIECE_BYTES)


class TarStream:
    """The bytes of a tar, read from its start to its end.

    Args:
        file: The tar, plain or compressed by gzip, bzip2, xz or zstd; it can be seeked.

    Attributes:
        at: Offset in the tar of the byte that is read next.
        is_plain: Whether the tar's bytes are those of the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        compression = compression_of(file)
        self.at = 0
        self.is_plain = not compression
        self._size = file.seek(0, os.SEEK_END) if self.is_plain else None
        file.seek(0)
        self._file: Any = open_decompressed(file, compression)

    def read(self, n_bytes: int) -> bytes:
        """Return `n_bytes`, or fewer at the end of the tar."""
        content: bytes = self._file.read(n_bytes) if n_bytes else b""
        if len(content) < n_bytes:
            pieces = [content]
            n_left = n_bytes - len(content)
            while n_left and (piece := self._file.read(n_left)):
                pieces.append(piece)
                n_left -= len(piece)
            content = b"".join(pieces)
        self.at += len(content)
        return content

    def skip_to(self, offset: int) -> None:
        """Skip forward to an offset.

        Raises:
            EOFError: The tar ends before it.
        """
        if self._size is None:
            while n_left := offset - self.at:
                self.exactly(min(n_left, PIECE_BYTES))
        elif offset > self._size:
            raise EOFError("unexpected end of data")
        elif offset > self.at:
            self._file.seek(offset)
            self.at = offset

    def exactly(self, n_bytes: int) -> bytes:
        """Return exactly `n_bytes`.

        Raises:
            EOFError: The tar ends before them.
        """
        content = self.read(n_bytes)
        if len(content) < n_bytes:
            raise EOFError("unexpected end of data")
        return content

    def require(self, offset: int) -> None:
        """Check that a plain tar is not shorter than an offset, before reading up to it.

        Raises:
            EOFError: The tar is shorter.
        """
        if self._size is not None and offset > self._size:
            raise EOFError("unexpected end of data")


@dataclass
class Member:
    """A regular member, or a hard link to one.

    Attributes:
        name: Name as the tar has it; percent-encoded where UTF-8 cannot write it.
        size: Number of bytes of the member; 0 of a link.
        stored: Number of bytes that the tar stores of the member.
        byte_range: First byte in the file, and size, where the member lies there in one piece.
        target: Name of the earlier member that a hard link stands for; empty for a regular member.
        index: Number of members before this one.
    """

    name: str
    size: int
    stored: int
    byte_range: tuple[int, int] | None
    target: str
    index: int
    _header: Header
    _stream: TarStream
    _first: bytes = b""

    @property
    def key(self) -> str:
        """Name of the sample that the member belongs to."""
        return split_name(self.name)[0]

    @property
    def ending(self) -> str:
        """Part of the member's name after its first dot, in lower case."""
        return split_name(self.name)[1]

    @property
    def is_audio(self) -> bool:
        """Whether the member is a clip, by the last part of its ending."""
        return has_audio_ending(self.name)

    def require_whole(self) -> None:
        """Check that a plain tar is long enough for the member.

        Raises:
            EOFError: The tar is too short.
        """
        self._stream.require(self._header.start + self._header.stored)

    def first_bytes(self, n_bytes: int) -> bytes:
        """Return the member's first bytes; call it before reading anything else of the member.

        Raises:
            EOFError: The tar ends before them.
        """
        if not self._first and self._header.extents is None:
            self._first = self._stream.exactly(min(n_bytes, self.size))
        return self._first

    def pieces(self) -> Iterator[bytes]:
        """Yield the member's bytes; call it once, and before the next member is requested.

        Raises:
            EOFError: The tar ends inside the member.
            DAMAGE: The tar is damaged.
        """
        stream, header = self._stream, self._header
        self.require_whole()
        extents = ((0, header.size),) if header.extents is None else header.extents
        at = 0
        for offset, size in extents:
            yield from _zeros(offset - at)
            at = offset + size
            while size:
                piece = self._first + stream.exactly(min(size, PIECE_BYTES) - len(self._first))
                self._first = b""
                size -= len(piece)
                yield piece
        yield from _zeros(header.size - at)

    def read(self) -> bytes:
        """Return all of the member's bytes, as `pieces` does."""
        return b"".join(self.pieces())


def has_audio_ending(name: str) -> bool:
    """Return whether a member's name has an audio ending."""
    return "." + split_name(name)[1].rpartition(".")[2] in AUDIO_ENDINGS


def split_name(name: str) -> tuple[str, str]:
    """Split a name into sample and lower-case ending: `a/b.left.WAV` is `a/b` and `left.wav`."""
    folder, slash, base = name.rpartition("/")
    # A dot at the start is a part of the name.
    stem, _, ending = base[1:].partition(".")
    return folder + slash + base[:1] + stem, ending.lower()


def members(file: BinaryIO, intake: Intake | None = None) -> Iterator[Member]:
    """Yield regular members and hard links; unread bytes of a member are skipped.

    Args:
        file: The tar, plain or compressed by gzip, bzip2, xz or zstd; it can be seeked.
        intake: Counts the symbolic links with an audio ending.

    Raises:
        DAMAGE: The tar is damaged; reading a member's content raises it, too.
    """
    stream = TarStream(file)
    for index, header in enumerate(headers(stream)):
        is_link = header.kind == tarfile.LNKTYPE
        if is_link or header.kind in tarfile.REGULAR_TYPES:
            in_one_piece = stream.is_plain and header.extents is None and not is_link
            yield Member(
                _utf8(header.name),
                header.size,
                header.stored,
                (header.start, header.size) if in_one_piece else None,
                _utf8(header.target) if is_link else "",
                index,
                header,
                stream,
            )
        elif intake and header.kind == tarfile.SYMTYPE and has_audio_ending(header.name):
            intake.pass_over(header.name, LINK_KIND)
        stream.skip_to(header.end)
    while rest := stream.read(PIECE_BYTES):
        if rest.strip(b"\0"):
            raise tarfile.ReadError(
                "there is data after the end mark, as of tars put together (tar -A joins them)"
            )


def _zeros(n_bytes: int) -> Iterator[bytes]:
    for _ in range(n_bytes // PIECE_BYTES):
        yield _ZEROS
    if n_bytes % PIECE_BYTES:
        yield _ZEROS[: n_bytes % PIECE_BYTES]


def _utf8(name: str) -> str:
    """Return a name that UTF-8 can write; other names are percent-encoded."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return quote(name.encode(errors="surrogateescape"))
    return name

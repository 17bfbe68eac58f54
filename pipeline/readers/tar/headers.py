"""The headers of a tar, one after the other: names, sizes, and where the bytes of a member lie.

Formats: V7, ustar, pax and GNU, with the sparse members of both. The standard library's reader
reads whatever a header asks for into memory, follows sizes below zero for ever, and takes a damaged
header, or a missing end mark, for the end. Here all of these are errors, and no header makes the
reader keep more than a few megabytes.
"""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.readers.tar.blocks import (
    _NUMBER,
    BLOCK,
    Extents,
    HeaderStream,
    _check_size,
    _number,
    _padded,
)
from pipeline.readers.tar.sparse import MOST_EXTENTS, _checked, _Said, _sparse

MOST_PAX_BYTES = 4 << 20
"""Largest pax header that is read; those of real tars have some hundred bytes."""
MOST_NAME_BYTES = 16 << 10
"""Longest name of a member; file systems take 4096 bytes."""
_PAX_TYPES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_NAME_TYPES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_WITHOUT_DATA = (
    *(tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE),
    *(tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE),
)
_WANTED = re.compile(rb"path|linkpath|size|GNU\.sparse\.(name|size|realsize|map|major|minor)")
_NAMES = (b"path", b"linkpath")
_REPEATED = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")


@dataclass(frozen=True, slots=True)
class Header:
    """What the headers of one member say.

    Attributes:
        name: Name as the tar has it; bytes that are not UTF-8 are surrogates.
        kind: Type flag, as `tarfile` names them.
        target: Name of the member that a link stands for.
        start: Offset of the member's first byte in the tar.
        stored: Number of bytes that the tar stores of the member.
        end: Offset of the next header.
        size: Number of bytes of the member.
        extents: Parts of a sparse member that are stored, as (offset, size); None for any other.
    """

    name: str
    kind: bytes
    target: str
    start: int
    stored: int
    end: int
    size: int
    extents: Extents | None = None


def headers(stream: HeaderStream) -> Iterator[Header]:
    """Return the headers of all members, up to the end mark.

    Before the next one is asked for, the stream must stand at the `end` of the last one.

    Raises:
        tarfile.TarError: A header is damaged, or asks for more than it may; or the end mark is
            missing.
    """
    everywhere = dict[bytes, bytes]()
    while (header := _next(stream, everywhere)) is not None:
        yield header


def _next(stream: HeaderStream, everywhere: dict[bytes, bytes]) -> Header | None:
    said = _Said()
    is_extended = False
    while True:
        try:
            block = stream.read(BLOCK)
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            if not block:
                raise tarfile.ReadError("the end mark is missing") from error
            if block.count(0) == BLOCK and not is_extended:
                return None
            raise tarfile.ReadError(str(error)) from error
        _check_size(info.size)
        if info.type in _PAX_TYPES:
            content = _extension(stream, info.size, MOST_PAX_BYTES, "a pax header")
            if info.type == tarfile.XGLTYPE:
                found = _pax(content, [])
                everywhere.update((key, found[key]) for key in _NAMES if key in found)
            else:
                said.pax = _pax(content, said.repeated) | said.pax
        elif info.type in _NAME_TYPES:
            content = _extension(stream, info.size, MOST_NAME_BYTES, "a name")
            _take_name(content, info, said)
        else:
            return _member(stream, info, block, said, everywhere)
        is_extended = True


def _extension(stream: HeaderStream, size: int, most: int, what: str) -> bytes:
    if size > most:
        raise tarfile.ReadError(f"{what} of {size} bytes, more than the {most} that are read")
    padded = _padded(size)
    content = stream.read(padded)
    if len(content) < size:
        raise tarfile.ReadError("unexpected end of data")
    return content[:size]


def _take_name(content: bytes, info: tarfile.TarInfo, said: _Said) -> None:
    name = content.partition(b"\0")[0].decode("utf-8", "surrogateescape")
    if info.type == tarfile.GNUTYPE_LONGNAME and said.name is None:
        said.name = name
    if info.type == tarfile.GNUTYPE_LONGLINK and said.target is None:
        said.target = name


def _pax(content: bytes, repeated: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return what is of use here of a pax header; its last record of a name wins.

    Args:
        content: Content of the header.
        repeated: Records whose names come more than once are appended to it.
    """
    found = dict[bytes, bytes]()
    for key, value in _pax_records(content):
        if key in _REPEATED:
            repeated.append((key, value))
            if len(repeated) > 2 * MOST_EXTENTS:
                raise tarfile.ReadError(f"a sparse member of more than {MOST_EXTENTS} parts")
        elif _WANTED.fullmatch(key):
            if key in (*_NAMES, b"GNU.sparse.name") and len(value) > MOST_NAME_BYTES:
                raise tarfile.ReadError(
                    f"a name of {len(value)} bytes, more than the {MOST_NAME_BYTES} that are read"
                )
            found[key] = value
    return found


def _pax_records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Return keys and values; what makes no sense ends them, as for other readers of tars."""
    at = 0
    while number := _NUMBER.match(content, at):
        length = int(number[0])
        end = at + length
        equals = content.find(b"=", number.end() + 1, end)
        if content[number.end() : number.end() + 1] != b" " or equals < 0:
            return
        yield content[number.end() + 1 : equals], content[equals + 1 : end - 1]
        at = end


def _member(
    stream: HeaderStream,
    info: tarfile.TarInfo,
    block: bytes,
    said: _Said,
    everywhere: dict[bytes, bytes],
) -> Header:
    pax = everywhere | said.pax
    stored = info.size
    if b"size" in said.pax:
        stored = _number(said.pax[b"size"], "size")
    is_regular = info.isreg()
    if info.type in _WITHOUT_DATA:
        stored = 0
    at = stream.at
    extents, size = None, stored
    if is_regular:
        sparse = _sparse(stream, info, block, said)
        if sparse is not None:
            found, size = sparse
            extents = _checked(found, size)
    # The map of an old sparse member is a part of its header, that of a new one of its data.
    start = stream.at
    first = start if info.type == tarfile.GNUTYPE_SPARSE else at
    left = stored - (start - first)
    if left < 0 or (extents and sum(n for _, n in extents) > left):
        raise tarfile.ReadError("the parts of a sparse member are larger than the member")
    name = said.name if said.name is not None else info.name
    for key in (b"path", b"GNU.sparse.name"):
        if key in pax:
            name = pax[key].decode("utf-8", "surrogateescape").rstrip("/")
    target = said.target if said.target is not None else info.linkname
    if b"linkpath" in pax:
        target = pax[b"linkpath"].decode("utf-8", "surrogateescape")
    return Header(name, info.type, target, start, left, first + _padded(stored), size, extents)

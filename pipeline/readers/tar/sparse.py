"""The maps of sparse members of a tar, in all of their formats."""

import tarfile
from dataclasses import dataclass, field

from pipeline.readers.tar.blocks import BLOCK, Extents, HeaderStream, _check_size, _number

MOST_EXTENTS = 100_000
"""Most parts of a sparse member."""


@dataclass(slots=True)
class _Said:
    """What extended headers say of the member that follows; the first of them wins."""

    name: str | None = None
    target: str | None = None
    pax: dict[bytes, bytes] = field(default_factory=dict)
    repeated: list[tuple[bytes, bytes]] = field(default_factory=list)


def _sparse(
    stream: HeaderStream, info: tarfile.TarInfo, block: bytes, said: _Said
) -> tuple[list[tuple[int, int]], int] | None:
    """Return the parts of a sparse member and its size, or None where it is not sparse."""
    pax = said.pax
    if info.type == tarfile.GNUTYPE_SPARSE:
        return _old_sparse(stream, block)
    if b"GNU.sparse.map" in pax:
        numbers = pax[b"GNU.sparse.map"].split(b",", 2 * MOST_EXTENTS + 1)
        return _pairs([_number(each, "sparse map") for each in numbers if each]), _real_size(pax)
    if b"GNU.sparse.size" in pax:
        return _pairs([_number(each, "sparse map") for _, each in said.repeated]), _real_size(pax)
    if (pax.get(b"GNU.sparse.major"), pax.get(b"GNU.sparse.minor")) == (b"1", b"0"):
        return _pairs(_numbers_in_data(stream)), _real_size(pax)
    return None


def _real_size(pax: dict[bytes, bytes]) -> int:
    found = pax.get(b"GNU.sparse.realsize", pax.get(b"GNU.sparse.size"))
    if found is None:
        raise tarfile.ReadError("a sparse member without its size")
    return _number(found, "size")


def _old_sparse(stream: HeaderStream, block: bytes) -> tuple[list[tuple[int, int]], int]:
    """Read the map of a GNU sparse member from its header, and from the blocks that continue it."""
    size = tarfile.nti(block[483:495])  # type: ignore[attr-defined]
    _check_size(size)
    extents = _structs(block[386:482])
    is_continued = block[482]
    while is_continued:
        block = stream.read(BLOCK)
        if len(block) < BLOCK:
            raise tarfile.ReadError("unexpected end of data")
        extents += _structs(block[:504])
        if len(extents) > MOST_EXTENTS:
            raise tarfile.ReadError(f"a sparse member of more than {MOST_EXTENTS} parts")
        is_continued = block[504]
    return extents, size


def _structs(content: bytes) -> list[tuple[int, int]]:
    pairs = (content[i : i + 24] for i in range(0, len(content), 24))
    nti = tarfile.nti  # type: ignore[attr-defined]
    return [(nti(each[:12]), nti(each[12:])) for each in pairs if each.strip(b"\0")]


def _numbers_in_data(stream: HeaderStream) -> list[int]:
    """Read the map of a pax 1.0 sparse member: lines of numbers in front of its data."""
    lines, rest, n_wanted = list[int](), b"", 1
    while len(lines) < n_wanted:
        block = stream.read(BLOCK)
        if len(block) < BLOCK:
            raise tarfile.ReadError("unexpected end of data")
        *whole, rest = (rest + block).split(b"\n")
        if len(rest) > BLOCK:
            raise tarfile.ReadError("the map of a sparse member makes no sense")
        for line in whole:
            lines.append(_number(line, "sparse map"))
            if len(lines) == 1:
                n_wanted = 1 + 2 * lines[0]
                if lines[0] > MOST_EXTENTS:
                    raise tarfile.ReadError(f"a sparse member of more than {MOST_EXTENTS} parts")
            if len(lines) == n_wanted:
                break
    return lines[1:]


def _pairs(numbers: list[int]) -> list[tuple[int, int]]:
    if len(numbers) > 2 * MOST_EXTENTS:
        raise tarfile.ReadError(f"a sparse member of more than {MOST_EXTENTS} parts")
    return list(zip(numbers[::2], numbers[1::2], strict=False))


def _checked(extents: list[tuple[int, int]], size: int) -> Extents:
    """Return the parts that have bytes, in order and within the member.

    Raises:
        tarfile.ReadError: They are not.
    """
    at = 0
    for offset, n_bytes in extents:
        if n_bytes and (offset < at or n_bytes < 0 or offset + n_bytes > size):
            raise tarfile.ReadError("the map of a sparse member makes no sense")
        at = offset + n_bytes if n_bytes else at
    return tuple((offset, n_bytes) for offset, n_bytes in extents if n_bytes)

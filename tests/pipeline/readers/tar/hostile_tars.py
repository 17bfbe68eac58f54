"""Tars that no program writes by itself: headers that ask for much, in every compression."""

import bz2
import gzip
import io
import lzma
import tarfile

import pyarrow as pa

from pipeline.errors import ClipError
from pipeline.io.storage import DEFAULT_STORAGE
from pipeline.readers.lazy_reader import lazy_recordings
from tests.pipeline.sources.corpora import listed, read

COMPRESSIONS = ("", "gz", "bz2", "xz", "zst")


def compress(content: bytes, kind: str) -> bytes:
    """Return the content as a file of this kind holds it."""
    if kind == "zst":
        return pa.compress(content, "zstd", asbytes=True)
    tools = {"": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    return tools[kind](content)


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE, **fields: object) -> bytes:
    """Return one sound header block, in GNU's format."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def block_with(block: bytes, at: int, content: bytes) -> bytes:
    """Return a header block with some bytes replaced, and a checksum that fits."""
    changed = bytearray(block)
    changed[at : at + len(content)] = content
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed)
    return bytes(changed)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def member(name: str, content: bytes) -> bytes:
    return header(name, len(content)) + padded(content)


def pax(records: dict[str, str], kind: bytes = tarfile.XHDTYPE) -> bytes:
    """Return a pax header with its records."""
    content = b""
    for key, value in records.items():
        rest = f" {key}={value}\n".encode()
        length = len(rest) + 1
        while len(str(length)) + len(rest) != length:
            length = len(str(length)) + len(rest)
        content += str(length).encode() + rest
    return header("pax", len(content), kind) + padded(content)


def whole(*parts: bytes) -> bytes:
    """Return parts as a tar, with its end mark."""
    return b"".join(parts) + bytes(1024)


def with_pax_sparse(name: str, size: int, stored: bytes) -> bytes:
    """Return a sparse member of version 1.0 whose stored bytes come first."""
    content = padded(f"1\n0\n{len(stored)}\n".encode()) + stored
    records = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": name,
        "GNU.sparse.realsize": str(size),
    }
    return pax(records) + member("GNUSparseFile.0/x", content)


def with_old_sparse(name: str, size: int, extents: list[tuple[int, int]], stored: bytes) -> bytes:
    """Return a sparse member of GNU's old format with up to four parts."""
    block = header(name, len(stored), tarfile.GNUTYPE_SPARSE)
    structs = b"".join(b"%011o\0%011o\0" % extent for extent in extents)
    block = block_with(block, 386, structs.ljust(96, b"\0") + b"\0" + b"%011o\0" % size)
    return block + padded(stored)


def negative(size: int) -> bytes:
    """Return a size field of a header as GNU writes numbers below zero."""
    return (256**12 + size).to_bytes(12, "big")


def by_tarfile(path) -> dict[str, bytes]:
    """Return the members as the standard library reads them."""
    with tarfile.open(path) as tar:
        return {
            info.name: io.BytesIO(tar.extractfile(info).read()).getvalue()
            for info in tar
            if info.isreg()
        }


def write(folder, content, kind=""):
    path = folder / (f"c.tar.{kind}" if kind else "c.tar")
    path.write_bytes(compress(content, kind))
    (container,) = listed(path, format="tar").containers
    return container


def looked_at(container):
    """Names of the recordings that `plan` finds, and the classes of their errors."""
    found = {}
    for recording in lazy_recordings(container, DEFAULT_STORAGE):
        try:
            with recording.open(1 << 40):
                found[recording.clips[0].member] = "sound"
        except ClipError as error:
            found[recording.clips[0].member] = error.error_class
    return found


def both(container):
    """What embedding and what planning find, which is the same; errors by their class."""
    found, _ = read(container)
    seen = {
        name: content.partition(":")[0] if isinstance(content, str) else "sound"
        for name, content in found.items()
    }
    assert looked_at(container) == seen
    return found, seen

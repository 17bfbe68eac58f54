"""Compressed files as the bytes that they hold: gzip, bzip2, xz and zstd, told by first bytes.

Files that were put together of several, as parallel compressors write them, are read as one.
"""

import bz2
import gzip
import lzma
import re
from typing import Any, BinaryIO

XZ_MEMORY_BYTES = 512 << 20
"""Most memory for one xz stream: its header alone could ask for 4 GiB."""
_HEAD_BYTES = 10
_READ_BYTES = 1 << 16
_BZ2 = re.compile(rb"BZh[1-9](1AY&SY|\x17\x72\x45\x38\x50\x90)")  # a block, or the end of none
# Of the frames of zstd that hold no data; pzstd puts one in front of each that does.
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)


def compression_of(file: BinaryIO) -> str:
    """Return how a file is compressed: `gzip`, `bzip2`, `xz`, `zstd`, or an empty text.

    Args:
        file: Can be seeked; its position is moved to the start.
    """
    file.seek(0)
    magic = file.read(_HEAD_BYTES)
    file.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return "gzip"
    if _BZ2.match(magic):
        return "bzip2"
    if magic.startswith(b"\xfd7zXZ\0"):
        return "xz"
    return "zstd" if _ZSTD.match(magic) else ""


def open_decompressed(file: BinaryIO, compression: str) -> Any:
    """Return a stream of what a compressed file holds; only its `read` is for use.

    Args:
        file: Positioned at its start; stays open.
        compression: As `compression_of` returns it.
    """
    if compression == "gzip":
        return gzip.GzipFile(fileobj=file)
    if compression == "bzip2":
        return bz2.BZ2File(file)
    if compression == "xz":
        return _Xz(file)
    if compression == "zstd":
        import pyarrow as pa  # only where there is zstd: it takes long to import

        return pa.CompressedInputStream(pa.PythonFile(_KeptOpen(file), mode="r"), "zstd")
    return file


class _KeptOpen:
    """A file that Arrow may close, as it does when it lets go of it, and that stays open."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read

    def close(self) -> None:
        self.closed = True


class _Xz:
    """What an xz file holds, in bounded memory, which `lzma.LZMAFile` does not offer."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._stream = self._new_stream()
        self._rest = b""

    @staticmethod
    def _new_stream() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)

    def read(self, n_bytes: int) -> bytes:
        """Return at least one byte and at most so many; none at the end.

        Raises:
            EOFError: The file is cut off.
            lzma.LZMAError: It is damaged.
        """
        while True:
            if self._stream.eof:
                self._rest = self._stream.unused_data or self._file.read(_READ_BYTES)
                # Streams may be padded by zeros, four at a time.
                while self._rest and not self._rest.strip(b"\0"):
                    self._rest = self._file.read(_READ_BYTES)
                if not self._rest:
                    return b""
                self._rest = self._rest.lstrip(b"\0")
                self._stream = self._new_stream()
            if self._stream.needs_input and not self._rest:
                self._rest = self._file.read(_READ_BYTES)
                if not self._rest:
                    raise EOFError("the compressed data is cut off")
            given, self._rest = self._rest, b""
            if content := self._stream.decompress(given, n_bytes):
                return content

"""Decompression of gzip, bzip2, xz and zstd files, recognized by their first bytes.

A file of several concatenated streams, as parallel compressors write it, is read as one.
"""

import bz2
import gzip
import lzma
import re
from typing import Any, BinaryIO

XZ_MEMORY_BYTES = 512 << 20
"""Memory limit of one xz stream, in bytes; the stream's header could demand 4 GiB."""
_MAGIC_BYTES = 10
_READ_BYTES = 1 << 16
# After the header comes the first block, or the end of an empty stream.
_BZ2 = re.compile(rb"BZh[1-9](1AY&SY|\x17\x72\x45\x38\x50\x90)")
# The second pattern is that of skippable frames; pzstd writes one before each frame of data.
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)


def compression_of(file: BinaryIO) -> str:
    """Return the compression of a file: `gzip`, `bzip2`, `xz`, `zstd`, or an empty text.

    Args:
        file: Seekable file. Its position is moved to the start.
    """
    file.seek(0)
    magic = file.read(_MAGIC_BYTES)
    file.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return "gzip"
    if _BZ2.match(magic):
        return "bzip2"
    if magic.startswith(b"\xfd7zXZ\0"):
        return "xz"
    return "zstd" if _ZSTD.match(magic) else ""


def open_decompressed(file: BinaryIO, compression: str) -> Any:
    """Return a stream of a file's decompressed bytes, of which only `read` may be used.

    Args:
        file: File positioned at its start. It stays open.
        compression: Compression, as `compression_of` returns it.
    """
    if compression == "gzip":
        return gzip.GzipFile(fileobj=file)
    if compression == "bzip2":
        return bz2.BZ2File(file)
    if compression == "xz":
        return _XzStream(file)
    if compression == "zstd":
        import pyarrow as pa  # imported only for zstd, as it is slow to import

        return pa.CompressedInputStream(pa.PythonFile(_CloseIgnoringFile(file), mode="r"), "zstd")
    return file


class _CloseIgnoringFile:
    """A file whose `close` leaves the underlying file open, as Arrow closes what it reads."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read

    def close(self) -> None:
        self.closed = True


class _XzStream:
    """A stream of an xz file's content in bounded memory, which `lzma.LZMAFile` cannot bound."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decompressor = self._new_decompressor()
        self._input = b""

    @staticmethod
    def _new_decompressor() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)

    def read(self, n_bytes: int) -> bytes:
        """Return between 1 and `n_bytes` bytes, or no bytes at the end of the file.

        Raises:
            EOFError: The file is truncated.
            lzma.LZMAError: The file is damaged.
        """
        while True:
            if self._decompressor.eof:
                self._input = self._decompressor.unused_data or self._file.read(_READ_BYTES)
                # Zeros, in multiples of four, may pad the end of a stream.
                while self._input and not self._input.strip(b"\0"):
                    self._input = self._file.read(_READ_BYTES)
                if not self._input:
                    return b""
                self._input = self._input.lstrip(b"\0")
                self._decompressor = self._new_decompressor()
            if self._decompressor.needs_input and not self._input:
                self._input = self._file.read(_READ_BYTES)
                if not self._input:
                    raise EOFError("the compressed data is truncated")
            compressed, self._input = self._input, b""
            if content := self._decompressor.decompress(compressed, n_bytes):
                return content

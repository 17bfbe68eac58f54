"""An Arrow stream as Arrow reads it, with each message looked at before it is decompressed.

A compressed buffer says in its first bytes how large it becomes, and Arrow makes room for that.
Messages are tables of FlatBuffers, of which only the places of the buffers are read here.
"""

import struct
from typing import BinaryIO

from pipeline.readers.guards.file_view import FileView
from pipeline.readers.guards.parquet_pages import check_plausible

_CONTINUED = 0xFFFFFFFF
_MOST_METADATA_BYTES = 64 << 20
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3


class MessageGuard(FileView):
    """A file for `pyarrow.PythonFile` that is read from where it stands, message by message.

    Args:
        file: Positioned at the start of the stream.

    Attributes:
        failure: What was refused; Arrow may have made another error of it.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self._expect = self._take_length
        self._buffers: list[tuple[int, int]] = []
        self.failure: ValueError | None = None

    def read(self, n_bytes: int = -1) -> bytes:
        """Read on, and look at what is read."""
        content: bytes = self._file.read(n_bytes)
        if content:
            try:
                self._expect(content)
            except (ValueError, struct.error) as error:
                self.failure = ValueError(str(error))
                raise self.failure from error
        return content

    def _take_length(self, content: bytes) -> None:
        if len(content) == 8:
            first, length = struct.unpack("<Ii", content)
        else:
            (first,) = struct.unpack("<I", content)
            length = first  # of old streams, which have no mark in front of it
            if first == _CONTINUED:
                return
        if not 0 <= length <= _MOST_METADATA_BYTES:
            raise ValueError(f"a message with metadata of {length} bytes")
        if length:
            self._expect = self._take_metadata

    def _take_metadata(self, content: bytes) -> None:
        self._buffers, n_bytes = compressed_buffers(content)
        self._expect = self._take_body if n_bytes else self._take_length

    def _take_body(self, content: bytes) -> None:
        self._expect = self._take_length
        in_all = 0
        for offset, n_bytes in self._buffers:
            if n_bytes < 8 or offset + 8 > len(content):
                continue
            size = struct.unpack_from("<q", content, offset)[0]
            in_all += max(0, size)
            check_plausible(size, n_bytes, "a buffer")
        check_plausible(in_all, len(content), "a batch")


def compressed_buffers(metadata: bytes) -> tuple[list[tuple[int, int]], int]:
    """Return the compressed buffers of a message, as (offset, size), and the size of its body.

    Args:
        metadata: The message's FlatBuffer.

    Raises:
        ValueError, struct.error: It makes no sense.
    """
    message = _Table.root(metadata)
    kind, body = message.number(1, "B"), message.number(3, "q")
    if kind not in (_DICTIONARY_BATCH, _RECORD_BATCH):
        return [], body
    batch = message.table(2)
    if batch and kind == _DICTIONARY_BATCH:
        batch = batch.table(1)
    if not batch or not batch.table(3):
        return [], body
    return batch.pairs(2), body


class _Table:
    """A table of a FlatBuffer."""

    def __init__(self, content: bytes, at: int) -> None:
        self._content = content
        self._at = at
        self._fields = at - struct.unpack_from("<i", content, at)[0]
        if not 0 <= self._fields <= len(content) - 4:
            raise ValueError("the metadata of a message makes no sense")
        self._n_bytes = struct.unpack_from("<H", content, self._fields)[0]

    @classmethod
    def root(cls, content: bytes) -> "_Table":
        return cls(content, struct.unpack_from("<I", content, 0)[0])

    def _place(self, field: int) -> int:
        """Return the offset of a field; 0 where it is missing."""
        entry = 4 + 2 * field
        if entry + 2 > self._n_bytes:
            return 0
        offset: int = struct.unpack_from("<H", self._content, self._fields + entry)[0]
        return self._at + offset if offset else 0

    def number(self, field: int, kind: str) -> int:
        at = self._place(field)
        value: int = struct.unpack_from(f"<{kind}", self._content, at)[0] if at else 0
        return value

    def table(self, field: int) -> "_Table | None":
        at = self._place(field)
        if not at:
            return None
        return _Table(self._content, at + struct.unpack_from("<I", self._content, at)[0])

    def pairs(self, field: int) -> list[tuple[int, int]]:
        """Return a vector of structures of two 64-bit numbers."""
        at = self._place(field)
        if not at:
            return []
        at += struct.unpack_from("<I", self._content, at)[0]
        n = struct.unpack_from("<I", self._content, at)[0]
        if at + 4 + 16 * n > len(self._content):
            raise ValueError("the metadata of a message makes no sense")
        return list(struct.iter_unpack("<qq", self._content[at + 4 : at + 4 + 16 * n]))

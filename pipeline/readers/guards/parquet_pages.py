"""A Parquet file as Arrow reads it, with each page looked at before Arrow decompresses it.

A page of a few bytes can stand for gigabytes: compression, and values that a dictionary holds once,
are without limits. Arrow reads a column chunk from its start to its end, so that the header of a
page passes here before its content is made room for. What does not fit is refused, or asks for
fewer rows at once. Nothing is read twice, and sound files are read as without.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow.parquet as pq

from pipeline.readers.guards.file_view import FileView
from pipeline.readers.guards.page_headers import (
    DATA_PAGE,
    DATA_PAGE_V2,
    DELTA_BYTE_ARRAY,
    DICTIONARY_PAGE,
    PLAIN_DICTIONARY,
    RLE_DICTIONARY,
    IncompleteError,
    PageHeader,
    page_header,
)

PLAUSIBLE_BYTES, PLAUSIBLE_RATIO = 128 << 20, 300
"""A page larger than this, and that many times what the file holds of it, is no recording."""
BATCH_BYTES = 128 << 20
"""Most memory for the values of one batch of rows, however few bytes they have in the file."""
_MOST_HEADER_BYTES = 16 << 20
_VALUE_BYTES = 8
_DATA_PAGES = (DATA_PAGE, DATA_PAGE_V2)
_DICTIONARIES = (PLAIN_DICTIONARY, RLE_DICTIONARY)
_TEXTUAL = ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")


class FewerRowsError(Exception):
    """So many rows at once would take too much memory.

    Args:
        rows: Number of rows that may be read at once.
    """

    def __init__(self, rows: int) -> None:
        super().__init__(f"at most {rows} rows may be read at once")
        self.rows = rows


def check_plausible(size: int, stored: int, what: str) -> None:
    """Raise an error if something becomes far larger than what is stored of it.

    Args:
        size: Size in bytes that it becomes.
        stored: Size in bytes in the file.
        what: Noun for the message.

    Raises:
        ValueError: It does.
    """
    if size > PLAUSIBLE_BYTES and size > PLAUSIBLE_RATIO * stored:
        raise ValueError(
            f"{what} of {size} bytes, of which the file stores {stored}: no recording is like this"
        )


@dataclass(slots=True)
class _Chunk:
    """One column of one row group, and how far it has been read.

    Attributes:
        start: Offset of the chunk in the file.
        end: Offset of its end.
        is_textual: Whether its values have bytes of their own.
        is_repeated: Whether a row may have several values.
        next: Offset that is read next.
        header_at: Offset of the next page's header.
        rest: Bytes of a header that goes on in what is read next.
        longest: Size in bytes of the longest value that the dictionary can hold.
    """

    start: int
    end: int
    is_textual: bool
    is_repeated: bool
    next: int = 0
    header_at: int = 0
    rest: bytes = b""
    longest: int = 0

    def begin(self) -> None:
        self.next = self.header_at = self.start
        self.rest, self.longest = b"", 0

    def take(self, content: memoryview, rows: int) -> None:
        """Check the page headers in the bytes that are read next.

        Args:
            content: Bytes of the file, of which the first is at `next`.
            rows: Number of rows that are read at once.

        Raises:
            ValueError: A page makes no sense.
            FewerRowsError: The rows would take too much memory.
        """
        at, self.next = self.next, self.next + len(content)
        while self.header_at < min(self.next, self.end):
            ahead = content[max(0, self.header_at - at) :]
            if self.rest:
                ahead = memoryview(self.rest + bytes(content))
            try:
                header = page_header(ahead)
            except IncompleteError:
                self.rest = bytes(ahead)
                if len(self.rest) > _MOST_HEADER_BYTES:
                    raise ValueError("a page header has no end") from None
                return
            self.rest = b""
            self._check(header, rows)
            self.header_at += header.n_bytes + header.compressed
            if self.header_at > self.end:
                raise ValueError("a page is larger than its column chunk")  # Arrow makes room first

    def _check(self, header: PageHeader, rows: int) -> None:
        size, n_values = header.uncompressed, max(1, header.n_values)
        check_plausible(size, header.compressed, "a page")
        check_plausible(_VALUE_BYTES * header.n_values, header.compressed, "a page of values")
        if header.kind == DICTIONARY_PAGE and self.is_textual:
            self.longest = max(0, size - 4 * (n_values - 1))
        if header.kind not in _DATA_PAGES or not self.is_textual:
            return
        if header.encoding in _DICTIONARIES:
            value = self.longest
            if self.is_repeated:
                check_plausible(value * n_values, header.compressed, "a page of lists")
        elif header.encoding == DELTA_BYTE_ARRAY:
            value = size  # each may begin as the one before
            if self.is_repeated:
                check_plausible(value * n_values, header.compressed, "a page of lists")
        else:
            # Of several values, the long ones are in the page once.
            value = size if self.is_repeated else size // n_values
        if rows > 1 and rows * value > BATCH_BYTES:
            raise FewerRowsError(max(1, min(rows // 2, BATCH_BYTES // max(1, value))))


class PageGuard(FileView):
    """A file for `pyarrow.PythonFile`, whose pages are looked at as they pass.

    Args:
        file: The Parquet file; it can be seeked.

    Attributes:
        failure: What was refused; Arrow may have made another error of it.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self._chunks: list[_Chunk] = []
        self._rows = 1
        self.failure: ValueError | FewerRowsError | None = None

    def watch(
        self, footer: pq.FileMetaData, groups: Iterable[int], columns: set[str], rows: int
    ) -> None:
        """Start to check the pages of some columns.

        Args:
            footer: Footer of the file.
            groups: Row groups that are read.
            columns: Names of the columns that are read.
            rows: Number of rows that are read at once.

        Raises:
            ValueError: A chunk cannot be where the footer has it.
            FewerRowsError: The rows would take too much memory.
        """
        self._rows, self.failure = rows, None
        schema = footer.schema
        leaves = [i for i in range(len(schema)) if _is_of(schema.column(i).path, columns)]
        for leaf in leaves:
            width = schema.column(leaf).length or 0
            if rows > 1 and rows * width > BATCH_BYTES:
                raise FewerRowsError(max(1, BATCH_BYTES // width))
            if width > PLAUSIBLE_BYTES:
                raise ValueError(f"values of {width} bytes each: no recording is like this")
        # Old versions of it leave the header of the dictionary out of the size; Arrow knows.
        slack = 100 if "parquet-mr" in (footer.created_by or "") else 0
        self._chunks = [
            _chunk(footer.row_group(group).column(leaf), schema.column(leaf), slack)
            for group in groups
            for leaf in leaves
        ]
        size = self._file.seek(0, os.SEEK_END)
        if any(not 0 <= chunk.start <= chunk.end <= size + slack for chunk in self._chunks):
            raise ValueError("a column chunk is not within the file")

    def read(self, n_bytes: int = -1) -> bytes:
        """Read on, and look at what is read."""
        at = self._file.tell()
        content: bytes = self._file.read(n_bytes)
        if content:
            try:
                self._look_at(at, content)
            except (ValueError, FewerRowsError) as error:
                self.failure = error
                raise
        return content

    def _look_at(self, at: int, content: bytes) -> None:
        end = at + len(content)
        for chunk in self._chunks:
            if chunk.start <= at < chunk.end:
                if at == chunk.start:
                    chunk.begin()
                if at > chunk.next:
                    raise ValueError("a column of the file is not read from its start")
                if end > chunk.next:
                    chunk.take(memoryview(content)[chunk.next - at :], self._rows)


def _is_of(path: str, columns: set[str]) -> bool:
    return any(path == column or path.startswith(f"{column}.") for column in columns)


def _chunk(column: Any, leaf: Any, slack: int) -> _Chunk:
    start = column.data_page_offset
    dictionary = column.dictionary_page_offset
    if column.has_dictionary_page and dictionary and 0 < dictionary < start:
        start = dictionary
    return _Chunk(
        start,
        start + column.total_compressed_size + slack,
        column.physical_type in _TEXTUAL,
        leaf.max_repetition_level > 0,
    )

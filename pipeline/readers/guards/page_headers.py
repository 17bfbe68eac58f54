"""Headers of the pages of a Parquet file: how large a page becomes before it is decompressed.

They are structures of Thrift's compact protocol. Only what bounds memory is read of them, and
nothing is trusted: a header that makes no sense is an error, one that is cut off asks for more.
"""

from dataclasses import dataclass

DATA_PAGE, INDEX_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = range(4)
PLAIN_DICTIONARY, DELTA_BYTE_ARRAY, RLE_DICTIONARY = 2, 7, 8
_BOOL_TRUE, _BOOL_FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = (
    range(1, 13)
)
_MOST_DEPTH = 8
_TYPE, _UNCOMPRESSED, _COMPRESSED = 1, 2, 3
_DETAILS = {5: {1: "n_values", 2: "encoding"}, 7: {1: "n_values", 2: "encoding"}}
_DETAILS[8] = {1: "n_values", 4: "encoding"}


class IncompleteError(Exception):
    """The header goes on after the bytes that were given."""


@dataclass(slots=True)
class PageHeader:
    """What the header of one page says.

    Attributes:
        kind: Type of the page.
        uncompressed: Size of the page's content in bytes, decompressed.
        compressed: Size of the page's content in bytes, as it lies in the file.
        n_values: Number of values, nulls included.
        encoding: Encoding of the values.
        n_bytes: Size of the header itself.
    """

    kind: int = -1
    uncompressed: int = -1
    compressed: int = -1
    n_values: int = 0
    encoding: int = 0
    n_bytes: int = 0


def page_header(content: bytes | memoryview) -> PageHeader:
    """Read the header that bytes begin with.

    Args:
        content: Bytes of the file from the header on.

    Raises:
        IncompleteError: It needs more bytes.
        ValueError: It makes no sense.
    """
    reader = _Reader(content)
    header = PageHeader()
    for number, kind in reader.fields():
        if number in (_TYPE, _UNCOMPRESSED, _COMPRESSED) and kind == _I32:
            value = reader.integer()
            if number == _TYPE:
                header.kind = value
            elif number == _UNCOMPRESSED:
                header.uncompressed = value
            else:
                header.compressed = value
        elif number in _DETAILS and kind == _STRUCT:
            for inner, inner_kind in reader.fields():
                name = _DETAILS[number].get(inner)
                if name and inner_kind == _I32:
                    setattr(header, name, reader.integer())
                else:
                    reader.skip(inner_kind)
        else:
            reader.skip(kind)
    header.n_bytes = reader.at
    if header.kind < 0 or min(header.uncompressed, header.compressed, header.n_values) < 0:
        raise ValueError("a page header makes no sense")
    return header


class _Reader:
    def __init__(self, content: bytes | memoryview) -> None:
        self._content = content
        self.at = 0

    def fields(self) -> "_Fields":
        return _Fields(self)

    def byte(self) -> int:
        if self.at >= len(self._content):
            raise IncompleteError
        self.at += 1
        return self._content[self.at - 1]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a page header makes no sense")

    def integer(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def skip(self, kind: int, depth: int = 0) -> None:
        if depth > _MOST_DEPTH:
            raise ValueError("a page header is nested too deeply")
        if kind in (_BOOL_TRUE, _BOOL_FALSE):
            return
        if kind == _BYTE:
            self.byte()
        elif kind in (_I16, _I32, _I64):
            self.varint()
        elif kind == _DOUBLE:
            self._leap(8)
        elif kind == _BINARY:
            self._leap(self.varint())
        elif kind == _STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth + 1)
        elif kind in (_LIST, _SET):
            self._skip_list(depth)
        else:
            # Maps are nowhere in a page header.
            raise ValueError("a page header makes no sense")

    def _skip_list(self, depth: int) -> None:
        head = self.byte()
        n = self.varint() if head >> 4 == 15 else head >> 4
        kind = head & 15
        for _ in range(n):
            if kind in (_BOOL_TRUE, _BOOL_FALSE):
                self.byte()
            else:
                self.skip(kind, depth + 1)

    def _leap(self, n_bytes: int) -> None:
        self.at += n_bytes
        if self.at > len(self._content):
            raise IncompleteError


class _Fields:
    """Numbers and kinds of a structure's fields; each must be read before the next."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader
        self._last = 0

    def __iter__(self) -> "_Fields":
        return self

    def __next__(self) -> tuple[int, int]:
        head = self._reader.byte()
        if not head:
            raise StopIteration
        delta = head >> 4
        self._last = self._last + delta if delta else self._reader.integer()
        return self._last, head & 15

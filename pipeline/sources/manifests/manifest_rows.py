"""The numbered rows of a manifest, whichever format it is written in."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.errors import UsageError
from pipeline.readers.guards.parquet_batches import guarded_batches, open_parquet
from pipeline.sources.manifests import lhotse
from pipeline.sources.manifests.column_names import has_uri_column
from pipeline.sources.manifests.delimiters import (
    COMMA,
    TAB,
    find_delimiter,
    other_delimiter,
    split_header,
    unquoted,
)
from pipeline.sources.manifests.manifest_text import as_utf8, not_utf8, unpacked
from pipeline.sources.manifests.path_lists import lines_of
from pipeline.wording import brief_list

Values = tuple[object, ...]
PACKED = ".gz"
_NESTED = "is nested too deeply"
_HEADER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ManifestRows:
    """The rows of one manifest.

    Attributes:
        name: of the manifest, as it was given.
        unit: what its rows are counted in, from 1: `line` or `row`.
        columns: that it has, in their order.
        of: numbered rows of some of the columns; a value that is not there is None.
        hint: Sentence that goes with a message about the columns; empty for none.
    """

    name: str
    unit: str
    columns: tuple[str, ...]
    of: Callable[[Sequence[str]], Iterator[tuple[int, Values]]]
    hint: str = ""

    def place(self, number: int) -> str:
        """A row, for people."""
        return f"manifest {self.name!r}, {self.unit} {number}"


def manifest_ending(name: str) -> str:
    """Return the ending of a manifest's name, `.csv` of `m.csv.gz`; empty for no manifest."""
    path, ending = os.path.splitext(name.lower())
    if ending == PACKED:
        ending = os.path.splitext(path)[1]
        return ending if ending in READERS and ending != ".parquet" else ""
    return ending if ending in READERS else ""


def read_rows(name: str, ending: str, content: bytes) -> ManifestRows:
    """Read a manifest.

    Args:
        name: as it was given, for messages.
        ending: of the name, one of `READERS`.
        content: of the file.

    Raises:
        UsageError: it is not of the format of its ending. Some errors show as its rows are read.
    """
    if ending == ".parquet":
        return _parquet_rows(name, content)
    if content.startswith(b"\x1f\x8b"):
        content = unpacked(name, content)
    return READERS[ending](name, as_utf8(f"manifest {name!r}", content))


def as_text(value: object) -> str | None:
    """A value as a carried column has it: text as it is, no text as None, all else as in JSON."""
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _text_rows(first: str) -> Callable[[str, bytes], ManifestRows]:
    return lambda name, content: _delimited_rows(name, content, first)


def _delimited_rows(name: str, content: bytes, first: str) -> ManifestRows:
    header_line, n_skipped = _first_line(name, content), 0
    delimiter = find_delimiter(header_line, first)
    if header_line.lower().startswith("sep=") and len(header_line) == 5:  # a note of Excel's
        delimiter, n_skipped = header_line[4], 1

    def lines() -> Iterator[tuple[int, list[str]]]:
        text = io.TextIOWrapper(io.BytesIO(content), "utf-8", newline="")
        for _ in range(n_skipped):
            text.readline()
        # Common Voice and other tables with tabs do not quote.
        is_quoted = delimiter != TAB or header_line.startswith('"')
        if is_quoted:
            reader = csv.reader(text, strict=True, delimiter=delimiter)
        else:
            reader = csv.reader(text, strict=True, delimiter=delimiter, quoting=csv.QUOTE_NONE)
        rows = reader if is_quoted else unquoted(reader)
        try:
            for cells in rows:
                if cells:
                    yield reader.line_num + n_skipped, cells
        except UnicodeDecodeError as error:
            raise UsageError(_not_utf8(name, content)) from error
        except csv.Error as error:
            number = reader.line_num + n_skipped
            raise _unreadable(name, f"after line {number}: {error}") from error

    _, header = next(lines(), (1, []))
    if repeated := sorted({column for column in header if header.count(column) > 1}):
        raise UsageError(f"manifest {name!r}: has column {repeated[0]!r} more than once")

    def of(columns: Sequence[str]) -> Iterator[tuple[int, Values]]:
        places = [header.index(column) if column in header else None for column in columns]
        rows = lines()
        next(rows, None)
        for number, cells in rows:
            if len(cells) != len(header):
                raise _unreadable(
                    name, f"line {number}: has {len(cells)} cells, the header {len(header)}"
                )
            yield number, tuple(None if i is None else cells[i] or None for i in places)

    return ManifestRows(name, "line", tuple(header), of, other_delimiter(header))


def _first_line(name: str, content: bytes) -> str:
    line = next(iter(content[:_HEADER_BYTES].splitlines()), b"")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise UsageError(not_utf8(f"manifest {name!r}, line 1", line)) from error


def _not_utf8(name: str, content: bytes) -> str:
    for number, line in enumerate(io.BytesIO(content), 1):
        try:
            line.decode()
        except UnicodeDecodeError:
            return not_utf8(f"manifest {name!r}, line {number}", line)
    return f"manifest {name!r}: is not UTF-8"


def _jsonl_rows(name: str, content: bytes) -> ManifestRows:
    def lines() -> Iterator[tuple[int, object]]:
        for number, line in enumerate(io.BytesIO(content), 1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line.decode())
            except UnicodeDecodeError as error:
                raise UsageError(not_utf8(f"manifest {name!r}, line {number}", line)) from error
            except ValueError as error:
                raise _unreadable(name, f"line {number}: {error}") from error
            except RecursionError as error:
                raise _unreadable(name, f"line {number}: {_NESTED}") from error

    return _object_rows(name, "line", lines)


def _object_rows(
    name: str, unit: str, items: Callable[[], Iterable[tuple[int, object]]]
) -> ManifestRows:
    """The rows of a manifest of JSON objects.

    Args:
        name: Name of the manifest.
        unit: What its objects are counted in.
        items: Gives the objects with their numbers, from the first.
    """

    def objects() -> Iterator[tuple[int, lhotse.Fields]]:
        for number, fields in items():
            if not isinstance(fields, dict):
                raise _unreadable(name, f"{unit} {number}: is no JSON object")
            try:
                yield number, lhotse.as_row(fields)
            except UsageError as error:
                raise UsageError(f"manifest {name!r}, {unit} {number}: {error}") from error

    def of(columns: Sequence[str]) -> Iterator[tuple[int, Values]]:
        return ((number, tuple(map(fields.get, columns))) for number, fields in objects())

    columns = dict.fromkeys(key for _, fields in objects() for key in fields)
    return ManifestRows(name, unit, tuple(columns), of)


def _json_rows(name: str, content: bytes) -> ManifestRows:
    """One object per line, as NeMo writes `.json`; an array of objects or paths; or one object."""
    try:
        whole = json.loads(content.decode())
    except RecursionError as error:
        raise _unreadable(name, _NESTED) from error
    except ValueError:  # several values: one per line
        return _jsonl_rows(name, content)
    if isinstance(whole, list):
        items = [{"uri": each} if isinstance(each, str) else each for each in whole]
        return _object_rows(name, "item", lambda: enumerate(items, 1))
    if isinstance(whole, dict):
        rows = _object_rows(name, "item", lambda: [(1, whole)])
        if has_uri_column(rows.columns):
            return rows
        raise UsageError(
            f"manifest {name!r}: is one JSON object ({brief_list(map(str, whole), 3)}); "
            "write one object per line, or an array of objects, with a column uri"
        )
    raise _unreadable(name, "is no JSON object")


def _list_rows(ending: str) -> Callable[[str, bytes], ManifestRows]:
    def read(name: str, content: bytes) -> ManifestRows:
        header = _first_line(name, content)
        if header.lstrip().startswith("{"):
            return _jsonl_rows(name, content)
        if has_uri_column(split_header(header, find_delimiter(header, TAB))):
            return _delimited_rows(name, content, TAB)

        def of(columns: Sequence[str]) -> Iterator[tuple[int, Values]]:
            for number, line in lines_of(name, ending, content):
                yield number, tuple(line if column == "uri" else None for column in columns)

        return ManifestRows(name, "line", ("uri",), of)

    return read


def _parquet_rows(name: str, content: bytes) -> ManifestRows:
    try:
        names = tuple(open_parquet(io.BytesIO(content)).schema_arrow.names)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(name, str(error)) from error
    if repeated := sorted({column for column in names if names.count(column) > 1}):
        raise UsageError(f"manifest {name!r}: has column {repeated[0]!r} more than once")

    def of(columns: Sequence[str]) -> Iterator[tuple[int, Values]]:
        number = 0
        try:
            wanted = [column for column in columns if column in names]
            for batch in guarded_batches(io.BytesIO(content), wanted):
                # Arrow ends the process where damaged offsets are followed.
                batch.validate(full=True)
                nothing = [None] * batch.num_rows
                values = [
                    batch.column(column).to_pylist() if column in names else nothing
                    for column in columns
                ]
                for row in zip(*values, strict=True):
                    number += 1
                    yield number, row
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _unreadable(name, str(error)) from error

    return ManifestRows(name, "row", names, of)


def _unreadable(name: str, reason: str) -> UsageError:
    return UsageError(f"manifest {name!r} cannot be read: {reason}")


READERS: dict[str, Callable[[str, bytes], ManifestRows]] = {
    ".csv": _text_rows(COMMA),
    ".tsv": _text_rows(TAB),
    ".tab": _text_rows(TAB),
    ".jsonl": _jsonl_rows,
    ".ndjson": _jsonl_rows,
    ".json": _json_rows,
    ".parquet": _parquet_rows,
    **{ending: _list_rows(ending) for ending in (".txt", ".lst", ".list", ".m3u", ".m3u8")},
}
"""By the ending of the manifest's name; that of text may be followed by `.gz`."""

"""A manifest's bytes as numbered rows, whichever of CSV, JSONL and Parquet it is written in."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UsageError

Values = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class ManifestRows:
    """The rows of one manifest.

    Attributes:
        name: of the manifest, as it was given.
        unit: what its rows are counted in, from 1: `line` or `row`.
        columns: that it has, in their order.
        of: numbered rows of some of the columns; a value that is not there is None.
    """

    name: str
    unit: str
    columns: tuple[str, ...]
    of: Callable[[Sequence[str]], Iterator[tuple[int, Values]]]

    def place(self, number: int) -> str:
        """A row, for people."""
        return f"manifest {self.name!r}, {self.unit} {number}"


def read_rows(name: str, ending: str, content: bytes) -> ManifestRows:
    """Read a manifest.

    Args:
        name: as it was given, for messages.
        ending: of the name, one of `READERS`.
        content: of the file.

    Raises:
        UsageError: it is not of the format of its ending. Some errors show as its rows are read.
    """
    return READERS[ending](name, content)


def as_text(value: object) -> str | None:
    """A value as a carried column has it: text as it is, no text as None, all else as in JSON."""
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _csv_rows(name: str, content: bytes) -> ManifestRows:
    def lines() -> Iterator[tuple[int, list[str]]]:
        text = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline="")
        reader = csv.reader(text, strict=True)
        try:
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
        except (csv.Error, UnicodeDecodeError) as error:
            raise _unreadable(name, f"after line {reader.line_num}: {error}") from error

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

    return ManifestRows(name, "line", tuple(header), of)


def _jsonl_rows(name: str, content: bytes) -> ManifestRows:
    def lines() -> Iterator[tuple[int, dict[str, Any]]]:
        for number, line in enumerate(io.BytesIO(content), 1):
            if not line.strip():
                continue
            try:
                fields = json.loads(line.decode("utf-8-sig"))
            except ValueError as error:
                raise _unreadable(name, f"line {number}: {error}") from error
            if not isinstance(fields, dict):
                raise _unreadable(name, f"line {number}: is no JSON object")
            yield number, fields

    def of(columns: Sequence[str]) -> Iterator[tuple[int, Values]]:
        return ((number, tuple(map(fields.get, columns))) for number, fields in lines())

    columns = dict.fromkeys(key for _, fields in lines() for key in fields)
    return ManifestRows(name, "line", tuple(columns), of)


def _parquet_rows(name: str, content: bytes) -> ManifestRows:
    try:
        file = pq.ParquetFile(pa.BufferReader(content), pre_buffer=False)
    except pa.ArrowException as error:
        raise _unreadable(name, str(error)) from error
    names = tuple(file.schema_arrow.names)

    def of(columns: Sequence[str]) -> Iterator[tuple[int, Values]]:
        number = 0
        try:
            wanted = [column for column in columns if column in names]
            # In this thread: one of Arrow's could still hold `content` when the process ends.
            for batch in file.iter_batches(columns=wanted, use_threads=False):
                nothing = [None] * batch.num_rows
                values = [
                    batch.column(column).to_pylist() if column in names else nothing
                    for column in columns
                ]
                for row in zip(*values, strict=True):
                    number += 1
                    yield number, row
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(name, str(error)) from error

    return ManifestRows(name, "row", names, of)


def _unreadable(name: str, reason: str) -> UsageError:
    return UsageError(f"manifest {name!r} cannot be read: {reason}")


READERS: dict[str, Callable[[str, bytes], ManifestRows]] = {
    ".csv": _csv_rows,
    ".jsonl": _jsonl_rows,
    ".ndjson": _jsonl_rows,
    ".parquet": _parquet_rows,
}
"""By the ending of the manifest's name."""

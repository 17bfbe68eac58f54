"""A run of Parquet row groups, or an Arrow file, as recordings: one a row.

Only the column of the audio and the carried ones are read, a few rows at a time. A column of audio
is binary, or a struct of `bytes` and `path` as Hugging Face datasets write it.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.clips import ClipRef, Container
from pipeline.errors import ClipError
from pipeline.io.storage import Storage
from pipeline.readers.checks import check_size
from pipeline.readers.container_file import (
    damage_error,
    open_container,
    rewound,
    spool_to_file,
    unreadable_clip,
    unreadable_part,
)
from pipeline.readers.guards.arrow_stream import MessageGuard
from pipeline.readers.guards.parquet_footer import FooterGate
from pipeline.readers.guards.parquet_pages import FewerRowsError, PageGuard
from pipeline.readers.intake import Intake
from pipeline.readers.recording import Recording

PARQUET_MAGIC, ARROW_MAGIC = b"PAR1", b"ARROW1"
_ARROW_HEAD = 8
"""Bytes of an Arrow file before its stream."""
BATCH_BYTES, BATCH_ROWS = 16 << 20, 64
"""Rows in memory: as many as have so many bytes, by the file's average; at least one."""
FOOTER_STRING_BYTES, FOOTER_ITEMS = 32 << 20, 200_000
"""Largest text, and longest list, in the footer of a Parquet file."""
_BUFFER_BYTES = 1 << 20
_SHARING = (
    *(pa.types.is_dictionary, pa.types.is_run_end_encoded),
    *(pa.types.is_string_view, pa.types.is_binary_view),
    *(pa.types.is_list_view, pa.types.is_large_list_view),
)
_PART = re.compile(r"(?:groups=(\d+)-(\d+) from row=(\d+);)?column=(.*)", re.DOTALL)
ARROW_DAMAGE = (pa.ArrowException, OSError, EOFError, ValueError)


@dataclass(frozen=True, slots=True)
class Part:
    """Which rows of a file, and which column of them, a container is.

    Attributes:
        column: of the audio.
        groups: first and last of the row groups; None for all rows.
        first_row: of the file that the groups begin with.
    """

    column: str
    groups: tuple[int, int] | None = None
    first_row: int = 0

    def __str__(self) -> str:
        groups = ""
        if self.groups:
            first, last = self.groups
            groups = f"groups={first}-{last} from row={self.first_row};"
        return f"{groups}column={self.column}"

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Read what `str` wrote."""
        match = _PART.fullmatch(text)
        assert match, text
        first, last, row, column = match.groups()
        return cls(column, (int(first), int(last)), int(row)) if first else cls(column)


def parquet_recordings(
    container: Container,
    storage: Storage,
    columns: tuple[str, ...] = (),
    intake: Intake | None = None,
) -> Iterator[Recording]:
    """The recordings of a container, in the order of its rows; their members are `row=N`.

    Where the file is damaged, or is not what was listed, the last recording stands for the rest.

    Args:
        container: the file, or a run of its row groups.
        storage: how remote locations are reached.
        columns: whose values go with the audio, as text; those that the file lacks are null.
        intake: limits of what is read.

    Raises:
        StoreError: the store does not answer.
    """
    intake = intake or Intake()
    try:
        with open_container(container, storage) as file:
            if not container.part:
                raise damage_error(container, "could not be read when it was listed")
            part = Part.parse(container.part)
            row = part.first_row
            for batch in _slices(_batches(container, file, part, columns), columns):
                audio = batch.column(part.column)
                carried = [_texts(batch, name) for name in columns]
                for i, value in enumerate(audio):
                    ref = ClipRef(
                        container.uri,
                        container.version,
                        f"row={row}",
                        carried=tuple(texts[i] for texts in carried),
                    )
                    yield from _recording(ref, value, intake)
                    row += 1
    except ClipError as error:
        yield unreadable_part(container, error)


def _batches(
    container: Container, file: BinaryIO, part: Part, columns: tuple[str, ...]
) -> Iterator[pa.RecordBatch]:
    row = part.first_row
    try:
        for batch in _opened_batches(file, part, columns):
            # Arrow ends the process where damaged offsets are followed.
            batch.validate(full=True)
            yield batch
            row += batch.num_rows
    except ARROW_DAMAGE as error:
        raise damage_error(container, f"damaged at or after row {row}", error) from error


def _opened_batches(
    file: BinaryIO, part: Part, columns: tuple[str, ...]
) -> Iterator[pa.RecordBatch]:
    if part.groups:
        groups = range(part.groups[0], part.groups[1] + 1)
        yield from guarded_batches(file, (part.column, *columns), groups)
    else:
        yield from _arrow_batches(file, part, columns)


def guarded_batches(
    file: BinaryIO, columns: Sequence[str], groups: range | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file, as few at once as memory allows.

    Args:
        file: File opened for reading; its position is moved.
        columns: Names of the columns to read; those that the file has not are left out.
        groups: Row groups to read, which follow one another; None for all.

    Raises:
        OSError, ValueError, pyarrow.ArrowException: The file is damaged, or asks for more memory
            than its content can need.
    """
    guard = PageGuard(file)
    parquet = open_parquet(guard)
    wanted = [name for name in columns if name in parquet.schema_arrow.names]
    groups = range(parquet.num_row_groups) if groups is None else groups
    rows, done = _batch_rows(parquet.metadata, groups), 0
    while rows:
        try:
            for batch in _rows_from(done, parquet, guard, groups, wanted, rows):
                yield batch
                done += batch.num_rows
            return
        except Exception as error:
            failure = guard.failure or error
            if not isinstance(failure, FewerRowsError):
                raise failure from None
            rows = failure.rows


def _rows_from(
    first: int,
    parquet: pq.ParquetFile,
    guard: PageGuard,
    groups: range,
    columns: list[str],
    rows: int,
) -> Iterator[pa.RecordBatch]:
    """Batches of so many rows of some row groups, from a row of theirs on."""
    footer = parquet.metadata
    while len(groups) > 1 and 0 < footer.row_group(groups[0]).num_rows <= first:
        first -= footer.row_group(groups[0]).num_rows
        groups = groups[1:]
    guard.watch(footer, groups, set(columns), rows)
    for batch in parquet.iter_batches(
        rows, groups, list(dict.fromkeys(columns)), use_threads=False
    ):
        n_before = min(first, batch.num_rows)
        first -= n_before
        if n_before < batch.num_rows:
            yield batch.slice(n_before)


def open_parquet(file: PageGuard | BinaryIO) -> pq.ParquetFile:
    """A Parquet file whose footer cannot ask for much memory.

    Args:
        file: can be seeked.
    """
    gate = FooterGate(file)
    parquet = pq.ParquetFile(
        pa.PythonFile(gate, mode="r"),
        buffer_size=_BUFFER_BYTES,
        pre_buffer=False,
        thrift_string_size_limit=FOOTER_STRING_BYTES,
        thrift_container_size_limit=FOOTER_ITEMS,
    )
    gate.check(parquet)
    return parquet


def _slices(
    batches: Iterable[pa.RecordBatch], columns: tuple[str, ...]
) -> Iterator[pa.RecordBatch]:
    """Batches of few rows, or of one where their texts may be in memory once for many rows."""
    for batch in batches:
        carried = (batch.schema.field(name).type for name in columns if name in batch.schema.names)
        rows = 1 if any(map(_shares_values, carried)) else BATCH_ROWS
        if batch.num_rows <= rows:
            yield batch
            continue
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


def _shares_values(kind: pa.DataType) -> bool:
    if any(is_(kind) for is_ in _SHARING):
        return True
    return any(_shares_values(kind.field(i).type) for i in range(kind.num_fields))


def _batch_rows(footer: pq.FileMetaData, groups: range) -> int:
    size: int = sum(footer.row_group(group).total_byte_size for group in groups)
    n_rows: int = sum(footer.row_group(group).num_rows for group in groups)
    return max(1, min(BATCH_ROWS, BATCH_BYTES * n_rows // max(1, size)))


def _arrow_batches(
    file: BinaryIO, part: Part, columns: tuple[str, ...]
) -> Iterator[pa.RecordBatch]:
    """Record batches as they were written; behind them must come what tells that they are all."""
    schema = arrow_schema(file)
    wanted = sorted(
        {schema.get_field_index(n) for n in (part.column, *columns) if n in schema.names}
    )
    is_file, guard = _arrow_stream(file)
    try:
        yield from pa.ipc.open_stream(
            pa.PythonFile(guard, mode="r"),
            options=pa.ipc.IpcReadOptions(included_fields=wanted, use_threads=False),
        )
    except Exception as error:
        raise guard.failure or error from None
    end_mark = ARROW_MAGIC if is_file else bytes(4)
    file.seek(-len(end_mark), os.SEEK_END)
    if file.read() != end_mark:
        raise EOFError("the end mark of the Arrow data is missing")


def arrow_schema(file: BinaryIO) -> pa.Schema:
    """Schema of an Arrow file or stream."""
    return pa.ipc.open_stream(pa.PythonFile(_arrow_stream(file)[1], mode="r")).schema


def _arrow_stream(file: BinaryIO) -> tuple[bool, MessageGuard]:
    """Whether it is an Arrow file, and the stream that it is or has between head and footer.

    As a stream, a file that is cut off still gives what it has. And Arrow's reader of files lets
    go of them in threads of its own, which can abort a process that ends.
    """
    file.seek(0)
    is_file = file.read(len(ARROW_MAGIC)) == ARROW_MAGIC
    file.seek(_ARROW_HEAD if is_file else 0)
    return is_file, MessageGuard(file)


def _recording(ref: ClipRef, value: pa.Scalar, intake: Intake) -> Iterator[Recording]:
    path = ""
    if value.is_valid and pa.types.is_struct(value.type):
        names = [field.name for field in value.type]
        path = f", only the path {value['path'].as_py()!r}" if "path" in names else ""
        value = value["bytes"]
    if not value.is_valid:
        what = f"{ref.name}: holds no bytes{path}; embed the files it names themselves"
        yield unreadable_clip(ref, ClipError("read", "no_bytes", what))
        return
    content = value.as_buffer()
    try:
        check_size(ref, intake.max_clip_bytes, content.size)
    except ClipError as error:
        yield unreadable_clip(ref, error)
        return
    with spool_to_file([memoryview(content)], content.size) as file:
        yield Recording((ref,), partial(rewound, ref, file))


def _texts(batch: pa.RecordBatch, name: str) -> list[str | None]:
    """Values of a column as text; those that are neither text nor numbers as JSON or ISO dates."""
    if name not in batch.schema.names:
        return [None] * batch.num_rows
    column = batch.column(name)
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_temporal(kind):
        # As Python values they would lose the nanoseconds.
        column = pc.cast(column, pa.string())
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        # Python's floats would show digits that these do not have.
        narrow = kind.to_pandas_dtype()
        return [None if value is None else str(narrow(value)) for value in column.to_pylist()]
    return [_text(value) for value in column.to_pylist()]


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, default=_text)
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

"""The recordings of Parquet row groups or of an Arrow file, one per row.

Only the column of the audio and the carried ones are read, a few rows at a time. A column of audio
is binary, or a struct of `bytes` and `path` as Hugging Face datasets write it.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

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
from pipeline.readers.guards.arrow_batches import ARROW_DAMAGE, arrow_batches
from pipeline.readers.guards.parquet_batches import BATCH_ROWS, guarded_batches
from pipeline.readers.intake import Intake
from pipeline.readers.recording import Recording

_SHARING = (
    *(pa.types.is_dictionary, pa.types.is_run_end_encoded),
    *(pa.types.is_string_view, pa.types.is_binary_view),
    *(pa.types.is_list_view, pa.types.is_large_list_view),
)
_PART = re.compile(r"(?:groups=(\d+)-(\d+) from row=(\d+);)?column=(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a file that a container is: a column, and some row groups or all rows.

    Attributes:
        column: Name of the audio column.
        groups: First and last row group; None for all rows.
        first_row: Index in the file of the first row of the groups.
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
        """Parse the text that `str` returns."""
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
    """Yield the recordings of a container in the order of its rows; their members are `row=N`.

    If the file is damaged, or not of the listed version, the last recording stands for the rest.

    Args:
        container: The file, or a run of its row groups.
        storage: Access to remote locations.
        columns: Columns to carry as text; columns that the file lacks are null.
        intake: Limits of reading.

    Raises:
        StoreError: The store does not answer.
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
            # Arrow ends the process if it follows damaged offsets.
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
        yield from arrow_batches(file, (part.column, *columns))


def _slices(
    batches: Iterable[pa.RecordBatch], columns: tuple[str, ...]
) -> Iterator[pa.RecordBatch]:
    """Yield batches of few rows; of one row if many rows may share a text in memory."""
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
    """Return the values of a column as text; structures as JSON, times in ISO format."""
    if name not in batch.schema.names:
        return [None] * batch.num_rows
    column = batch.column(name)
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_temporal(kind):
        # Python's datetimes would lose the nanoseconds.
        column = pc.cast(column, pa.string())
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        # Python's floats would show digits that narrow floats do not have.
        narrow = kind.to_pandas_dtype()
        return [None if value is None else str(narrow(value)) for value in column.to_pylist()]
    return [_text(value) for value in column.to_pylist()]


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, default=_text)
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

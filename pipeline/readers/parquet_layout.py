"""The layout of a Parquet or Arrow file: its audio column, and its division into containers."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.clips import Container
from pipeline.errors import ClipError, UsageError
from pipeline.io.storage import Storage
from pipeline.readers.container_file import damage_error, open_container
from pipeline.readers.guards.arrow_batches import ARROW_DAMAGE, PARQUET_MAGIC, arrow_schema
from pipeline.readers.guards.parquet_batches import open_parquet
from pipeline.readers.parquet_reader import Part

GROUP_ROWS, GROUP_BYTES = 256, 64 << 20
"""Rows, or bytes of audio, after which a container ends."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of one file.

    Attributes:
        containers: Runs of row groups, or the whole file.
        columns: Names of the columns; empty where the file cannot be read.
        problem: Reason why the file cannot be read; empty for none.
    """

    containers: tuple[Container, ...]
    columns: tuple[str, ...] = ()
    problem: str = ""


def read_layout(whole: Container, storage: Storage, audio_column: str | None) -> Layout:
    """Divide a file into containers; an unreadable file is one container, whose reading fails.

    Args:
        whole: The file.
        storage: Access to remote locations.
        audio_column: Name of the audio column; None to find it.

    Raises:
        UsageError: The column is missing, is no audio, or cannot be found.
        StoreError: The store does not answer.
    """
    try:
        with open_container(whole, storage) as file:
            schema, footer = _schema(file)
            column = audio_column or find_audio(whole.uri, schema)
            _check_audio(whole.uri, schema, column)
            return Layout(tuple(_containers(whole, column, footer)), tuple(schema.names))
    except ClipError as error:
        return Layout((whole,), problem=error.message)
    except ARROW_DAMAGE as error:
        problem = damage_error(whole, "is neither Parquet nor Arrow", error).message
        return Layout((whole,), problem=problem)


def _schema(file: BinaryIO) -> tuple[pa.Schema, pq.FileMetaData | None]:
    magic = file.read(len(PARQUET_MAGIC))
    file.seek(0)
    if magic != PARQUET_MAGIC:
        return arrow_schema(file), None
    parquet = open_parquet(file)
    return parquet.schema_arrow, parquet.metadata


def _containers(
    whole: Container, column: str, footer: pq.FileMetaData | None
) -> Iterator[Container]:
    if footer is None:
        yield Container(whole.uri, whole.version, str(Part(column)), whole.kind)
        return
    first = row = rows = size = 0
    for group in range(footer.num_row_groups):
        rows += footer.row_group(group).num_rows
        size += _audio_bytes(footer.row_group(group), column)
        if rows >= GROUP_ROWS or size >= GROUP_BYTES or group == footer.num_row_groups - 1:
            part = Part(column, (first, group), row)
            yield Container(whole.uri, whole.version, str(part), whole.kind, rows)
            first, row, rows, size = group + 1, row + rows, 0, 0


def _audio_bytes(group: Any, column: str) -> int:
    leaves = (group.column(i) for i in range(group.num_columns))
    return sum(
        leaf.total_uncompressed_size
        for leaf in leaves
        if leaf.path_in_schema in (column, f"{column}.bytes")
    )


def find_audio(uri: str, schema: pa.Schema) -> str:
    """Find the audio column: the one of Hugging Face's metadata, or the only possible one.

    Structs with bytes are preferred to plain binary columns.

    Args:
        uri: URI of the file, for messages.
        schema: Schema of the file.

    Raises:
        UsageError: No column can be audio, or several can.
    """
    structs = [field.name for field in schema if _has_bytes(field.type)]
    plain = [field.name for field in schema if _is_binary(field.type)]
    candidates = [name for name in _marked(schema) if name in structs + plain] or structs or plain
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise UsageError(
            f"{uri}: the audio may be in column {', '.join(candidates)}; name it by --audio-column"
        )
    kinds = ", ".join(f"{field.name} ({field.type})" for field in schema) or "none"
    raise UsageError(
        f"{uri}: no column can be audio, which is binary or a struct with bytes; the columns are: "
        f"{kinds}"
    )


def _check_audio(uri: str, schema: pa.Schema, column: str) -> None:
    if schema.names.count(column) != 1:
        raise UsageError(
            f"{uri}: audio_column {column!r} is not there; the columns are: "
            f"{', '.join(schema.names)}"
        )
    kind = schema.field(column).type
    if not _is_binary(kind) and not _has_bytes(kind):
        raise UsageError(
            f"{uri}: audio_column {column!r} is {kind}; audio is binary or a struct with bytes"
        )


def _marked(schema: pa.Schema) -> list[str]:
    """Return the columns that are audio by the metadata of Hugging Face's datasets."""
    try:
        said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = said["info"]["features"]
        return [name for name, each in features.items() if each.get("_type") == "Audio"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _has_bytes(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind):
        return False
    return any(field.name == "bytes" and _is_binary(field.type) for field in kind)


def _is_binary(kind: pa.DataType) -> bool:
    types = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return any(is_(kind) for is_ in types)

"""The rows of a Parquet file, as few at once as memory allows."""

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.readers.guards.parquet_footer import FooterGate
from pipeline.readers.guards.parquet_pages import FewerRowsError, PageGuard

BATCH_BYTES, BATCH_ROWS = 16 << 20, 64
"""Bytes and rows in memory at once, by the file's average row; at least one row."""
FOOTER_STRING_BYTES, FOOTER_ITEMS = 32 << 20, 200_000
"""Largest text, and longest list, in the footer of a Parquet file."""
_BUFFER_BYTES = 1 << 20


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
    """Yield batches of `rows` rows of some row groups, from row `first` of them on."""
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
    """Open a Parquet file whose footer cannot ask for much memory.

    Args:
        file: Seekable file.
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


def _batch_rows(footer: pq.FileMetaData, groups: range) -> int:
    size: int = sum(footer.row_group(group).total_byte_size for group in groups)
    n_rows: int = sum(footer.row_group(group).num_rows for group in groups)
    return max(1, min(BATCH_ROWS, BATCH_BYTES * n_rows // max(1, size)))

"""A Parquet file that grows by row groups, and can drop a clip's rows until it is published.

Rows of a ten-hour clip fill gigabytes before its end shows whether it is sound. They go to disk as
they come. If the clip fails, the file is written once more without them, row group by row group,
before it is published. The published file is the same as if the clip had never been there.
"""

import contextlib

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.table.schema import parquet_writer
from pipeline.table.store.base import TableStore


class RowFile:
    """One file of rows of many clips; it is in the table once it is published.

    Args:
        store: Store of the table.
        name: Name of the file in the table.
        schema: Schema of the rows; `clip_id` is among the columns.
        group_rows: Number of rows in a row group, which is the largest number held in memory.
    """

    def __init__(self, store: TableStore, name: str, schema: pa.Schema, group_rows: int) -> None:
        self._store = store
        self._name = name
        self._schema = schema
        self._group_rows = group_rows
        self._pending: list[pa.Table] = []
        self._n_pending = 0
        self._n_flushed = 0
        self._flushed_clips: set[str] = set()
        self._dropped: set[str] = set()
        self._stack = contextlib.ExitStack()
        self._file: tuple[pq.ParquetWriter, str] | None = None

    def write(self, rows: pa.Table) -> None:
        """Add rows."""
        self._pending.append(rows)
        self._n_pending += rows.num_rows
        while self._n_pending >= self._group_rows:
            self._flush()

    def drop(self, clip_id: str) -> None:
        """Drop all rows of a clip."""
        self._pending = [_without(rows, {clip_id}) for rows in self._pending]
        self._n_pending = sum(rows.num_rows for rows in self._pending)
        if clip_id in self._flushed_clips:
            self._dropped.add(clip_id)

    def publish(self) -> int:
        """Put the file in place and return its number of rows.

        Raises:
            StoreError: The store refused.
        """
        if self._dropped:
            self._rewrite()
        if self._n_pending or not self._file:
            self._flush()
        self._stack.close()
        return self._n_flushed

    def abandon(self) -> None:
        """Remove what was written."""
        _abandon(self._stack)

    def _flush(self) -> None:
        rows = pa.concat_tables(self._pending or [self._schema.empty_table()])
        group = rows.slice(0, self._group_rows)
        try:
            self._writer().write_table(group, self._group_rows)
        except OSError:
            with self._stack:  # leaving `replacing` names the location that refused
                raise
        self._n_flushed += group.num_rows
        self._flushed_clips.update(group["clip_id"].unique().to_pylist())
        self._pending = [rows.slice(self._group_rows)]
        self._n_pending = rows.num_rows - group.num_rows

    def _writer(self) -> pq.ParquetWriter:
        if self._file is None:
            path = self._stack.enter_context(self._store.replacing(self._name))
            writer = self._stack.enter_context(parquet_writer(path, self._schema))
            self._file = writer, str(path)
        return self._file[0]

    def _rewrite(self) -> None:
        """Write the file again, without the clips that were dropped."""
        assert self._file
        (writer, path), stack, pending = self._file, self._stack, self._pending
        dropped = self._dropped
        self._stack, self._file = contextlib.ExitStack(), None
        self._pending, self._n_pending, self._n_flushed = [], 0, 0
        self._flushed_clips, self._dropped = set(), set()
        try:
            writer.close()
            # A buffer for the whole file would stay in memory until the file is closed.
            with pq.ParquetFile(path, pre_buffer=False) as flushed:
                for group in range(flushed.num_row_groups):
                    self.write(_without(flushed.read_row_group(group), dropped))
            for rows in pending:
                self.write(rows)
        except OSError:
            with stack:
                raise
        finally:
            _abandon(stack)


class _AbandonedError(Exception):
    pass


def _abandon(stack: contextlib.ExitStack) -> None:
    # Leaving `replacing` with an error removes the file instead of naming it.
    with contextlib.suppress(_AbandonedError):
        stack.__exit__(_AbandonedError, _AbandonedError(), None)


def _without(rows: pa.Table, clip_ids: set[str]) -> pa.Table:
    import pyarrow.compute as pc  # takes a tenth of a second that `plan` must not spend

    ours = pc.is_in(rows["clip_id"], value_set=pa.array(sorted(clip_ids), pa.string()))
    return rows.filter(pc.invert(ours))

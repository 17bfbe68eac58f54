"""The files of rows of one shard.

Rows of `clips` and `errors` are kept in memory until the shard ends. Rows of `windows` and
`timestamps` come in blocks and go to disk row group by row group, because a ten-hour clip has many.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import StoreError
from pipeline.table.row_group_file import RowFile
from pipeline.table.schema import parquet_writer, schemas
from pipeline.table.spec import TableSpec
from pipeline.table.store.base import TableStore
from pipeline.table_layout import data_name

ROW_GROUP_ROWS = 8192
GROUP_BYTES = 24 << 20
"""Largest number of bytes of vectors in a row group: 8192 embeddings of 768 floats."""
_STREAMED = ("windows", "timestamps")

Values = Sequence[Any] | npt.NDArray[Any]


class RowWriter:
    """A writer of one shard's files of rows.

    Use it as a context manager. The files appear in the table when `finish` is called. If the block
    is left without that, they do not appear. Rows for folders that the spec leaves out are ignored.

    Args:
        store: Store of the table.
        spec: Spec of the table.
        shard: Id of the shard.
        group_bytes: Largest number of bytes of vectors in a row group.
    """

    def __init__(
        self, store: TableStore, spec: TableSpec, shard: str, group_bytes: int = GROUP_BYTES
    ) -> None:
        self.rows: dict[str, int] = {}
        self._shard = shard
        self._store = store
        self._schemas = schemas(spec)
        self._kept: dict[str, list[dict[str, Any]]] = {
            name: [] for name in self._schemas if name not in _STREAMED
        }
        self._streamed = {
            name: RowFile(store, data_name(name, shard), schema, group_rows(schema, group_bytes))
            for name, schema in self._schemas.items()
            if name in _STREAMED
        }

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()

    def abandon(self) -> None:
        """Remove all files that have not been put in place."""
        for file in self._streamed.values():
            file.abandon()

    def add(self, table: str, row: dict[str, Any]) -> None:
        """Add a row of `clips` or `errors`, with vectors as float32 arrays."""
        self._kept[table].append(row)

    def add_block(
        self, table: str, shared: Mapping[str, str], columns: Mapping[str, Values]
    ) -> None:
        """Add rows of `windows` or `timestamps`.

        Args:
            table: `windows` or `timestamps`.
            shared: Text columns that have one value in all rows.
            columns: The other columns; vectors as a float32 matrix, or as a list of arrays.
        """
        if table not in self._streamed:
            return
        n_rows = len(next(iter(columns.values())))
        repeated = {name: pa.repeat(value, n_rows) for name, value in shared.items()}
        schema = self._schemas[table]
        arrays = [
            repeated[f.name] if f.name in repeated else _column(columns[f.name], f.type)
            for f in schema
        ]
        self._streamed[table].write(pa.table(arrays, schema=schema))

    def drop(self, clip_id: str) -> None:
        """Drop the rows of a clip in `windows` and `timestamps`."""
        for file in self._streamed.values():
            file.drop(clip_id)

    def finish(self) -> dict[str, int]:
        """Put the files in place and return their names and sizes in bytes.

        Raises:
            StoreError: The store refused.
        """
        files = {}
        for table, schema in self._schemas.items():
            name = data_name(table, self._shard)
            if table in self._streamed:
                self.rows[table] = self._streamed[table].publish()
            else:
                rows = self._kept[table]
                self.rows[table] = len(rows)
                if table == "errors" and not rows:
                    # A file of an earlier, uncommitted attempt could still be there.
                    self._store.delete(name)
                    continue
                with self._store.replacing(name) as path, parquet_writer(path, schema) as writer:
                    writer.write_table(to_table(rows, schema), ROW_GROUP_ROWS)
            size = self._store.size(name)
            if size is None:
                raise StoreError(f"{self._store.locate(name)}: was written, and is gone")
            files[name] = size
        return files


def group_rows(schema: pa.Schema, group_bytes: int) -> int:
    """Return the number of rows in a row group with at most `group_bytes` of vectors."""
    kinds = (f.type for f in schema if pa.types.is_fixed_size_list(f.type))
    row_bytes: int = sum(4 * kind.list_size for kind in kinds)
    return max(1, min(ROW_GROUP_ROWS, group_bytes // max(1, row_bytes)))


def to_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Convert rows to an Arrow table; vectors are copied as one block, not value by value."""
    return pa.table([_column([row[f.name] for row in rows], f.type) for f in schema], schema=schema)


def _column(values: Values, kind: pa.DataType) -> pa.Array:
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(values, kind)
    matrix = np.asarray(values, np.float32).reshape(len(values), kind.list_size)
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), type=kind)

"""Rows to Parquet files, with the encodings that suit embeddings.

Float columns are BYTE_STREAM_SPLIT + zstd, which takes 15 % off embeddings where dictionaries add
to them; strings keep dictionaries. Embeddings are fixed-size lists, which every reader knows as
vectors. A shard's rows are kept until it ends, but for `windows`: those go to disk row group by
row group, as a ten-hour clip has many.
"""

import contextlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.spec import TableSpec
from pipeline.store import LocalStore
from pipeline.table import data_name

ROW_GROUP_ROWS = 8192
_DICTIONARY_COLUMNS = ("member", "arch", "stage", "class", "sample_rate_hz", "channels")
_VECTORS = ("embedding", "logits")


def schemas(spec: TableSpec) -> dict[str, pa.Schema]:
    """Schema of each table of the spec, and of `errors`."""
    identity = [_field("clip_id", pa.string()), _field("uri", pa.string())]
    identity += [_field("member", pa.string()), _field("source_version", pa.string())]
    widths = {"embedding": spec.embedding_dim, "logits": spec.n_classes}
    vectors = [_field(name, _vector(widths[name])) for name in _VECTORS if name in spec.outputs]
    fields = {
        "clips": [
            *identity,
            _field("start_s", pa.float64()),
            _field("duration_s", pa.float64()),
            _field("sample_rate_hz", pa.int32()),
            _field("channels", pa.int32()),
            _field("arch", pa.string()),
            _field("n_windows", pa.int32()),
            _field("decoded_short", pa.bool_()),
            *vectors,
        ],
        "windows": [
            *identity,
            _field("arch", pa.string()),
            _field("window_index", pa.int32()),
            _field("start_s", pa.float64()),
            _field("end_s", pa.float64()),
            *vectors,
        ],
        "errors": [
            *identity,
            _field("stage", pa.string()),
            _field("class", pa.string()),
            _field("message", pa.string()),
        ],
    }
    metadata = {"passtream": json.dumps(spec.to_json())}
    return {name: pa.schema(fields[name], metadata) for name in (*spec.tables, "errors")}


def _field(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


def _vector(width: int) -> pa.DataType:
    return pa.list_(pa.field("element", pa.float32(), nullable=False), width)


class RowWriter:
    """Writes one shard's files of rows.

    Use as a context manager: the files appear in the table when `finish` is called, and not at
    all where the block is left without it.

    Args:
        store: of the table.
        spec: of the table.
        shard: id of the shard.
    """

    def __init__(self, store: LocalStore, spec: TableSpec, shard: str) -> None:
        self.rows: dict[str, int] = {}
        self._shard = shard
        self._store = store
        self._schemas = schemas(spec)
        self._pending: dict[str, list[dict[str, Any]]] = {name: [] for name in self._schemas}
        self._windows: _OpenFile | None = None

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._windows:
            self._windows.abandon()

    def add(self, table: str, row: dict[str, Any]) -> None:
        """Add a row; vectors as float32 arrays. Tables that the spec leaves out are ignored."""
        if table not in self._schemas:
            return
        self._pending[table].append(row)
        if table == "windows" and len(self._pending[table]) >= ROW_GROUP_ROWS:
            self._flush_windows()

    def finish(self) -> dict[str, int]:
        """Put the files in place; their names and sizes in bytes.

        Raises:
            StoreError: the store refused.
        """
        files = {}
        for table, schema in self._schemas.items():
            name = data_name(table, self._shard)
            if table == "windows":
                self._flush_windows()
                assert self._windows
                self.rows[table] = self._windows.n_rows
                self._windows.publish()
            else:
                rows = self._pending[table]
                self.rows[table] = len(rows)
                if table == "errors" and not rows:
                    # A file of an earlier, uncommitted try could still be there.
                    self._store.delete(name)
                    continue
                with self._store.replacing(name) as path, _writer(path, schema) as writer:
                    writer.write_table(to_table(rows, schema), ROW_GROUP_ROWS)
            files[name] = self._store.path(name).stat().st_size
        return files

    def _flush_windows(self) -> None:
        if self._windows is None:
            name = data_name("windows", self._shard)
            self._windows = _OpenFile(self._store, name, self._schemas["windows"])
        self._windows.write(self._pending["windows"])
        self._pending["windows"] = []


class _OpenFile:
    """A Parquet file that grows by row groups before it gets its name."""

    def __init__(self, store: LocalStore, name: str, schema: pa.Schema) -> None:
        self.n_rows = 0
        self._schema = schema
        self._stack = contextlib.ExitStack()
        path = self._stack.enter_context(store.replacing(name))
        self._writer = self._stack.enter_context(_writer(path, schema))

    def write(self, rows: list[dict[str, Any]]) -> None:
        self._writer.write_table(to_table(rows, self._schema), ROW_GROUP_ROWS)
        self.n_rows += len(rows)

    def publish(self) -> None:
        self._stack.close()

    def abandon(self) -> None:
        # Leaving `replacing` with an error removes the file instead of naming it.
        with contextlib.suppress(_AbandonedError):
            self._stack.__exit__(_AbandonedError, _AbandonedError(), None)


class _AbandonedError(Exception):
    pass


def _writer(path: object, schema: pa.Schema) -> pq.ParquetWriter:
    vectors = {f"{name}.list.element" for name in _VECTORS if name in schema.names}
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=[name for name in _DICTIONARY_COLUMNS if name in schema.names],
        column_encoding=dict.fromkeys(vectors, "BYTE_STREAM_SPLIT"),
        write_page_index=True,
    )


def to_table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as an Arrow table; vectors go over as one block, not value by value."""
    return pa.table([_column([row[f.name] for row in rows], f.type) for f in schema], schema=schema)


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(values, kind)
    block: npt.NDArray[np.float32] = np.concatenate(values) if values else np.zeros(0, np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(block), type=kind)

"""An estimate of the bytes of a table: the width of a compressed row times the number of rows.

The width of vectors is what BYTE_STREAM_SPLIT and zstd leave of float32 embeddings of speech and
music; the widths of texts and numbers are usual ones.
"""

from collections.abc import Mapping

import pyarrow as pa

from pipeline.planning.totals import ListingTotals
from pipeline.table.schema import schemas
from pipeline.table.spec import TableSpec

VECTOR_SHARE = 0.88
"""Share of a float32 vector's bytes that is left after compression."""
_TEXT_BYTES, _ID_BYTES, _NUMBER_BYTES, _LABEL_BYTES = 8, 34, 3, 6
_FILE_BYTES = 7000
"""Bytes of a file's footer, which has its schema and the table's spec twice."""
_COMMIT_BYTES = 700


def rows_by_table(spec: TableSpec, tally: ListingTotals) -> dict[str, float]:
    """Return the number of rows of each folder of the table, and of `errors`."""
    counts = {
        "clips": tally.embedded,
        "windows": tally.windows.total(),
        "timestamps": tally.timestamps,
        "errors": tally.errors.total(),
    }
    return {table: counts[table] for table in (*spec.tables, "errors")}


def row_bytes(spec: TableSpec) -> dict[str, float]:
    """Return the bytes of one compressed row in each folder of the table."""
    return {
        table: sum(_column_bytes(field.name, field.type, spec) for field in schema)
        for table, schema in schemas(spec).items()
    }


def bytes_by_table(spec: TableSpec, rows: Mapping[str, float], n_shards: int) -> dict[str, float]:
    """Return the bytes of the files in each folder; those of commit records count as `clips`.

    Args:
        spec: Spec of the table.
        rows: Number of rows of each folder.
        n_shards: Number of shards.
    """
    widths = row_bytes(spec)
    sizes = {}
    for table, n_rows in rows.items():
        n_files = min(n_shards, n_rows) if table == "errors" else n_shards
        sizes[table] = n_rows * widths[table] + n_files * _FILE_BYTES
    sizes["clips"] += n_shards * _COMMIT_BYTES
    return sizes


def _column_bytes(name: str, kind: pa.DataType, spec: TableSpec) -> float:
    if pa.types.is_fixed_size_list(kind):
        return float(4 * kind.list_size * VECTOR_SHARE)
    if name == "labels":
        return spec.top_k * _LABEL_BYTES
    if name == "clip_id":
        return _ID_BYTES
    return _TEXT_BYTES if pa.types.is_string(kind) else _NUMBER_BYTES

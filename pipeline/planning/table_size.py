"""About how many bytes a table will have: the widths of its rows times how many there are.

An estimate. Vectors are counted by what BYTE_STREAM_SPLIT and zstd leave of float32 embeddings of
speech and music, texts and numbers by what is usual once they are compressed.
"""

from collections.abc import Mapping

import pyarrow as pa

from pipeline.planning.totals import ListingTotals
from pipeline.table.schema import schemas
from pipeline.table.spec import TableSpec

VECTOR_SHARE = 0.88
"""Of four bytes a number, that is left of a vector."""
_TEXT_BYTES, _ID_BYTES, _NUMBER_BYTES, _LABEL_BYTES = 8, 34, 3, 6
_FILE_BYTES = 7000
"""Of a file's footer, which has its schema and the table's spec twice."""
_COMMIT_BYTES = 700


def rows_by_table(spec: TableSpec, tally: ListingTotals) -> dict[str, float]:
    """How many rows each table of the spec will have, and `errors`."""
    counts = {
        "clips": tally.embedded,
        "windows": tally.windows.total(),
        "timestamps": tally.timestamps,
        "errors": tally.errors.total(),
    }
    return {table: counts[table] for table in (*spec.tables, "errors")}


def row_bytes(spec: TableSpec) -> dict[str, float]:
    """Bytes of a row of each table, compressed."""
    return {
        table: sum(_column_bytes(field.name, field.type, spec) for field in schema)
        for table, schema in schemas(spec).items()
    }


def bytes_by_table(spec: TableSpec, rows: Mapping[str, float], n_shards: int) -> dict[str, float]:
    """Bytes of the files of each table, with those of the commit records among `clips`.

    Args:
        spec: of the table.
        rows: how many rows each table will have.
        n_shards: of how many shards.
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

"""The columns of each folder of a table, and their encodings in Parquet.

Vectors are encoded by BYTE_STREAM_SPLIT and zstd, which makes embeddings 15 % smaller; dictionaries
would make them larger. Strings that repeat have dictionaries. Embeddings are fixed-size lists,
which every reader knows as vectors.
"""

import json
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UsageError
from pipeline.table.spec import OUTPUTS, Route, TableSpec

IDENTITY_COLUMNS = ("clip_id", "uri", "member", "source_version")
"""Columns that name the clip of a row; every folder has them."""
VECTOR_OUTPUTS = ("embedding", "logits")
"""Names of the outputs that are vectors."""
_LABEL_NAME = "labels.list.element.name"
_DICTIONARY_COLUMNS = (
    *("member", "arch", "stage", "class", "sample_rate_hz", "channels"),
    _LABEL_NAME,
)
LABEL_FIELDS = ("index", "name", "probability")
_LABEL = pa.struct(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in zip(LABEL_FIELDS, (pa.int32(), pa.string(), pa.float32()), strict=True)
    ]
)


def schemas(spec: TableSpec) -> dict[str, pa.Schema]:
    """Return the schema of each folder of the spec, and of `errors`."""
    identity = {name: pa.string() for name in IDENTITY_COLUMNS}
    kinds = {
        "embedding": _vector(spec.embedding_dim),
        "logits": _vector(spec.n_classes),
        "labels": pa.list_(pa.field("element", _LABEL, nullable=False)),
    }
    outputs = {name: kind for name, kind in kinds.items() if name in spec.outputs}
    columns = {
        "clips": {
            **identity,
            "start_s": pa.float64(),
            "member_offset": pa.int64(),
            "member_bytes": pa.int64(),
            "duration_s": pa.float64(),
            "sample_rate_hz": pa.int32(),
            "channels": pa.int32(),
            "arch": pa.string(),
            "n_windows": pa.int32(),
            "decoded_short": pa.bool_(),
            "rms_dbfs": pa.float32(),
            "peak_dbfs": pa.float32(),
            "clipped_ratio": pa.float32(),
            **{name: pa.string() for name in spec.columns},
            **outputs,
        },
        "windows": {
            **identity,
            "arch": pa.string(),
            "window_index": pa.int32(),
            "start_s": pa.float64(),
            "end_s": pa.float64(),
            **outputs,
        },
        "timestamps": {
            **identity,
            "arch": pa.string(),
            "timestamp_index": pa.int64(),
            "timestamp_ms": pa.float64(),
            "embedding": _vector(spec.timestamp_dim),
        },
        "errors": {
            **identity,
            "stage": pa.string(),
            "class": pa.string(),
            "message": pa.string(),
        },
    }
    nullable = {"member_offset", "member_bytes", *spec.columns}
    metadata = {"passtream": json.dumps(spec.to_json())}
    return {
        table: pa.schema(
            [
                pa.field(name, kind, nullable=name in nullable)
                for name, kind in columns[table].items()
            ],
            metadata,
        )
        for table in (*spec.tables, "errors")
    }


def own_columns() -> tuple[str, ...]:
    """Return the columns that `clips` may have of its own; carried columns need other names."""
    spec = TableSpec((Route("", 0.0, "", "", 0),), 1, 1, 1, 1.0, 1.0, outputs=OUTPUTS, top_k=1)
    return tuple(schemas(spec)["clips"].names)


def check_carried_columns(columns: Iterable[str]) -> None:
    """Check that no carried column has the name of a column of the table's own.

    Names are compared without case, because some readers take `URI` for `uri`.

    Raises:
        UsageError: A column has such a name.
    """
    own = own_columns()
    for name in columns:
        if not name or name.lower() in own:
            raise UsageError(
                f"columns: {name!r} cannot be carried, as the table has a column of its own by "
                f"that name; leave it out of --columns, or rename it in the source "
                f"(the table's are {', '.join(own)})"
            )


def _vector(width: int) -> pa.DataType:
    return pa.list_(pa.field("element", pa.float32(), nullable=False), width)


def parquet_writer(path: object, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a writer of one file with the encodings of a schema."""
    vectors = [f.name for f in schema if pa.types.is_fixed_size_list(f.type)]
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=[
            path for path in _DICTIONARY_COLUMNS if path.partition(".")[0] in schema.names
        ],
        column_encoding={f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in vectors},
        write_page_index=True,
    )

"""Reads manifests that are Parquet files."""

import io
from collections.abc import Iterator, Sequence

import pyarrow as pa

from pipeline.readers.guards.parquet_batches import guarded_batches, open_parquet
from pipeline.sources.manifests.manifest_rows import (
    ManifestRows,
    RowValues,
    check_unique_columns,
    unreadable_manifest,
)


def read_parquet_rows(name: str, content: bytes) -> ManifestRows:
    """Read a Parquet manifest.

    Args:
        name: Name of the manifest, for messages.
        content: Bytes of the Parquet file.

    Raises:
        UsageError: The file is damaged or has a column twice. Errors in its rows are raised when
            the rows are read.
    """
    try:
        names = tuple(open_parquet(io.BytesIO(content)).schema_arrow.names)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable_manifest(name, str(error)) from error
    check_unique_columns(name, names)

    def read(columns: Sequence[str]) -> Iterator[tuple[int, RowValues]]:
        number = 0
        try:
            present = [column for column in columns if column in names]
            for batch in guarded_batches(io.BytesIO(content), present):
                # Without this check, damaged offsets make Arrow crash the process.
                batch.validate(full=True)
                nulls = [None] * batch.num_rows
                values = [
                    batch.column(column).to_pylist() if column in names else nulls
                    for column in columns
                ]
                for row in zip(*values, strict=True):
                    number += 1
                    yield number, row
        except (pa.ArrowException, OSError, ValueError) as error:
            raise unreadable_manifest(name, str(error)) from error

    return ManifestRows(name, "row", names, read)

"""The record batches of an Arrow file or stream, within limits of memory."""

import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa

from pipeline.readers.guards.arrow_stream import MessageGuard

PARQUET_MAGIC, ARROW_MAGIC = b"PAR1", b"ARROW1"
_ARROW_HEAD = 8
"""Bytes of an Arrow file before its stream."""
ARROW_DAMAGE = (pa.ArrowException, OSError, EOFError, ValueError)


def arrow_batches(file: BinaryIO, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the record batches of an Arrow file or stream, as they were written.

    Args:
        file: File opened for reading; its position is moved.
        columns: Names of the columns to read; those that the file has not are left out.

    Raises:
        EOFError: The end mark after the batches is missing.
        OSError, ValueError, pyarrow.ArrowException: The file is damaged.
    """
    schema = arrow_schema(file)
    wanted = sorted({schema.get_field_index(n) for n in columns if n in schema.names})
    is_file, guard = _arrow_stream(file)
    try:
        yield from pa.ipc.open_stream(
            pa.PythonFile(guard, mode="r"),
            options=pa.ipc.IpcReadOptions(included_fields=wanted, use_threads=False),
        )
    except Exception as error:
        raise guard.failure or error from None
    end_mark = ARROW_MAGIC if is_file else bytes(4)
    file.seek(-len(end_mark), os.SEEK_END)
    if file.read() != end_mark:
        raise EOFError("the end mark of the Arrow data is missing")


def arrow_schema(file: BinaryIO) -> pa.Schema:
    """Read the schema of an Arrow file or stream."""
    return pa.ipc.open_stream(pa.PythonFile(_arrow_stream(file)[1], mode="r")).schema


def _arrow_stream(file: BinaryIO) -> tuple[bool, MessageGuard]:
    """Return whether a file is an Arrow file, and the Arrow stream in it.

    Read as a stream, a file that is cut off still gives its first batches. Also, Arrow's reader of
    files releases them in threads of its own, which can abort a process that ends.
    """
    file.seek(0)
    is_file = file.read(len(ARROW_MAGIC)) == ARROW_MAGIC
    file.seek(_ARROW_HEAD if is_file else 0)
    return is_file, MessageGuard(file)

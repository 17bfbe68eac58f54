"""The `errors` of a table: the number of failed clips by class, and their rows."""

from collections import Counter, deque
from collections.abc import Generator, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import cast

import pyarrow.parquet as pq

from pipeline.errors import StoreError
from pipeline.table.schema import IDENTITY_COLUMNS
from pipeline.table.table import Table
from pipeline.table_layout import data_name

ERROR_COLUMNS = ("class", "uri", "member", "message", "stage", "clip_id", "source_version")
"""Columns of an error's row, in the order in which they are shown."""
BATCH_ROWS = 1024
_AHEAD = 16
"""Shards whose errors are read ahead, so that waits for a remote store overlap."""

ErrorRow = dict[str, str]


@dataclass
class ErrorCounts:
    """The errors of a table by its commit records.

    Attributes:
        clips: Number of clips in the table, errors included.
        classes: Number of errors by class.
        shards: Classes of the errors of each shard that has any, by the shard's id.
    """

    clips: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    shards: dict[str, frozenset[str]] = field(default_factory=dict)


def count_errors(table: Table) -> ErrorCounts:
    """Count the errors of a table by class; only commit records are read.

    Raises:
        StoreError: A record is missing or damaged.
    """
    found = ErrorCounts()
    committed = table.commits.ids()
    replaced = set[str]()
    for record in table.commits.records(sorted(committed), or_gone=True):
        found.clips += record.clips
        found.classes.update(record.errors)
        if record.errors:
            found.shards[record.shard] = frozenset(record.errors)
        replaced.update(record.replaces)
    # A run was killed before it removed these; their clips are in other shards as well.
    for record in table.commits.records(sorted(replaced & committed), or_gone=True):
        found.clips -= record.clips
        found.classes -= Counter(record.errors)
        found.shards.pop(record.shard, None)
    return found


def read_errors(
    table: Table, counts: ErrorCounts, classes: AbstractSet[str] = frozenset()
) -> Iterator[ErrorRow]:
    """Yield the rows of `errors`, shard by shard, with bounded memory.

    Args:
        table: Table to read.
        counts: Result of `count_errors`.
        classes: Classes to yield; all classes where none is named.

    Raises:
        StoreError: A file of errors cannot be read.
    """
    shards = (
        shard
        for shard, found in sorted(counts.shards.items())
        if not classes or not found.isdisjoint(classes)
    )
    with ThreadPoolExecutor(_AHEAD) as pool:
        ahead = deque(pool.submit(_first_rows, table, shard) for shard in islice(shards, _AHEAD))
        try:
            while ahead:
                for row in _rows_of(table, ahead.popleft()):
                    if not classes or row["class"] in classes:
                        yield row
                ahead.extend(pool.submit(_first_rows, table, shard) for shard in islice(shards, 1))
        finally:
            for each in ahead:
                each.cancel()


def _first_rows(table: Table, shard: str) -> tuple[str, list[ErrorRow], bool]:
    """Read the first batch of a shard; the last value says whether it has further batches."""
    batches = _batches(table, shard)
    rows = next(batches, [])
    has_more = len(rows) == BATCH_ROWS
    batches.close()
    return shard, rows, has_more


def _rows_of(table: Table, reading: Future[tuple[str, list[ErrorRow], bool]]) -> Iterator[ErrorRow]:
    shard, rows, has_more = reading.result()
    if not has_more:
        yield from rows
        return
    for batch in _batches(table, shard):
        yield from batch


def _batches(table: Table, shard: str) -> Generator[list[ErrorRow], None, None]:
    name = data_name("errors", shard)
    try:
        with table.store.open(name) as file:
            parquet = pq.ParquetFile(file, pre_buffer=False)
            columns = [*IDENTITY_COLUMNS, "stage", "class", "message"]
            for batch in parquet.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
                yield cast("list[ErrorRow]", batch.to_pylist())
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{table.store.locate(name)} cannot be read: {error}") from error

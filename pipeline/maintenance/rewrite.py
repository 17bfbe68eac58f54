"""Rewriting a committed shard that loses clips: its other rows are copied to a new shard.

Nothing is embedded, and rows are copied bit by bit. A run may be killed after each of these steps:

1. The new shard's files are written. Without a commit record they are orphans.
2. Its record is created and names the shard that it `replaces`, which then no longer counts.
3. The old shard's record is deleted, and then its files, which without it are orphans.

The records show which step was reached, so the next run, or `repair`, goes on from there. A clip
that several shards have, because a run went on after losing the table, stays in one of them.
"""

import math
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import LostTableError, StoreError
from pipeline.planning.diff import Rewrite
from pipeline.shards import shard_id
from pipeline.table.commit_record import CommitRecord
from pipeline.table.row_group_file import RowFile
from pipeline.table.row_writer import GROUP_BYTES, group_rows
from pipeline.table.schema import schemas
from pipeline.table.table import Table
from pipeline.table_layout import data_name


def rewrite_shard(table: Table, rewrite: Rewrite) -> str | None:
    """Remove clips from a committed shard.

    Args:
        table: Table whose lock is held.
        rewrite: The shard, and the clips that stay.

    Returns:
        Id of the shard that has the clips that stay; None where none stay.

    Raises:
        LostTableError: Another run has the table now.
        StoreError: The shard's files cannot be read, or the store refused.
    """
    new = None
    if rewrite.kept:
        table.commits.check_hold()  # before files can become visible
        new = _copy(table, rewrite)
    table.commits.remove(rewrite.shard)
    return new


@dataclass
class _Counts:
    rows: dict[str, int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    durations_s: list[float] = field(default_factory=list)
    windows: int = 0

    def add(self, table: str, rows: pa.Table) -> None:
        self.rows[table] = self.rows.get(table, 0) + rows.num_rows
        if table == "errors":
            self.errors.update(rows["class"].to_pylist())
        if table == "clips":
            self.durations_s += rows["duration_s"].to_pylist()
            self.windows += pc.sum(rows["n_windows"]).as_py() or 0


def _copy(table: Table, rewrite: Rewrite) -> str:
    """Commit a shard of the rows that stay, and return its id."""
    old = next(table.commits.records([rewrite.shard]))
    new = shard_id(table.spec.digest, rewrite.kept)
    kept = pa.array(sorted(clip.clip_id for clip in rewrite.kept), pa.string())
    counts = _Counts()
    for name, schema in schemas(table.spec).items():
        _copy_rows(table, name, schema, old, new, kept, counts)
    n_clips = counts.rows["clips"] + counts.rows["errors"]
    if n_clips != len(rewrite.kept):
        raise StoreError(
            f"shard {rewrite.shard}: has rows of {n_clips} of the {len(rewrite.kept)} clips that "
            f"stay; run passtream verify {table.store.location}"
        )
    moved = {"host": socket.gethostname(), "pid": os.getpid(), "at_s": round(time.time(), 3)}
    record = CommitRecord(
        shard=new,
        clips=n_clips,
        rows=counts.rows,
        errors=dict(sorted(counts.errors.items())),
        audio_s=math.fsum(counts.durations_s),
        windows=counts.windows,
        files=counts.files,
        replaces=(rewrite.shard,),
        fidelity=old.fidelity,
        writer=old.writer | {"rewritten": moved},  # the process that embedded the rows, and when
    )
    try:
        table.commits.put(record)
    except LostTableError:
        table.commits.discard(record)
        raise
    return new


def _copy_rows(
    table: Table,
    name: str,
    schema: pa.Schema,
    old: CommitRecord,
    new: str,
    kept: pa.Array,
    counts: _Counts,
) -> None:
    source, target = data_name(name, old.shard), data_name(name, new)
    counts.rows[name] = 0
    groups = _groups(table, source, schema, kept) if source in old.files else iter(())
    if name == "errors":
        rows = pa.concat_tables([schema.empty_table(), *groups])
        if not rows.num_rows:
            table.store.delete(target)  # a file of an earlier, uncommitted attempt
            return
        groups = iter((rows,))
    file = RowFile(table.store, target, schema, group_rows(schema, GROUP_BYTES))
    try:
        for rows in groups:
            counts.add(name, rows)
            file.write(rows)
        file.publish()
    except BaseException:
        file.abandon()
        raise
    size = table.store.size(target)
    if size is None:
        raise StoreError(f"{table.store.locate(target)}: was written, and is gone")
    counts.files[target] = size


def _groups(table: Table, name: str, schema: pa.Schema, kept: pa.Array) -> Iterator[pa.Table]:
    """Yield the rows that stay of a file, row group by row group."""
    try:
        with table.store.open(name) as file:
            parquet = pq.ParquetFile(file, pre_buffer=False)
            if not parquet.schema_arrow.equals(schema):
                raise StoreError(f"{name} does not have the columns of the table's spec")
            for group in range(parquet.num_row_groups):
                # Without Arrow's threads; `maintenance.verify` says why.
                rows = parquet.read_row_group(group, use_threads=False)
                yield rows.filter(pc.is_in(rows["clip_id"], value_set=kept))
    except (OSError, pa.ArrowException) as error:
        raise StoreError(
            f"{table.store.locate(name)} cannot be read, so the rows that stay cannot be kept: "
            f"{error}; run passtream verify {table.store.location}"
        ) from error

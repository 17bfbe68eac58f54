"""One shard, from its stream of events to its commit: the same steps with and without Ray.

There are two steps, because a backup attempt may embed the same shard. First everything is embedded
and nothing is in the table. Then the attempt that may commit writes and commits.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from pipeline.embedding.assembler import Assembler
from pipeline.embedding.model import Model
from pipeline.errors import LostTableError
from pipeline.progress import Counts
from pipeline.shards import Shard
from pipeline.stopwatch import STAGES, Stopwatch
from pipeline.stream.events import Event
from pipeline.table.commit_record import CommitRecord
from pipeline.table.row_writer import RowWriter
from pipeline.table.table import Table


class EmbeddedShard:
    """A shard whose rows are ready and not in the table yet. `commit` or `abandon` it.

    Args:
        table: Table of the shard.
        writer: Writer that holds the rows.
        record: The commit record; row counts and files are added by `commit`.
        watch: Stopwatch of the stages so far.
    """

    def __init__(
        self, table: Table, writer: RowWriter, record: CommitRecord, watch: Stopwatch
    ) -> None:
        self._table = table
        self._writer = writer
        self._record = record
        self._watch = watch

    def commit(self) -> CommitRecord:
        """Write the files and commit; return the record that stands in the table.

        Raises:
            LostTableError: Another run has the table now; nothing of the shard is left in it.
            StoreError: The table could not be written.
        """
        with self._writer:
            self._table.commits.check_hold(unless_recent=True)  # before files can become visible
            # Another actor may have committed the shard, if this process was taken for dead. Its
            # record stands, and so do its files.
            if self._table.commits.is_committed(self._record.shard):
                return next(self._table.commits.records([self._record.shard]))
            with self._watch.measure("write"):
                files = self._writer.finish()
        record = replace(self._record, rows=self._writer.rows, files=files)
        try:
            return self._table.commits.commit(record, self._watch.seconds)
        except LostTableError:
            self._table.commits.discard(record)
            raise

    def abandon(self) -> None:
        """Remove the rows; nothing of the shard is left."""
        self._writer.abandon()


def embed_uncommitted(
    shard: Shard,
    packets: Iterable[list[Event]],
    model: Model,
    table: Table,
    on_progress: Callable[[Counts], None] = lambda _: None,
) -> EmbeddedShard:
    """Embed a shard's clips without writing them to the table.

    Args:
        shard: The shard.
        packets: Events of the shard, from `shard_packets`, here or on another machine.
        model: Model that embeds windows and timestamps.
        table: Table of the shard.
        on_progress: Called with the counts as they grow.

    Raises:
        BrokenStreamError: The stream did not account for every clip.
        StoreError: Rows could not be kept.
    """
    watch = Stopwatch()
    writer = RowWriter(table.store, table.spec, shard.shard_id)
    try:
        assembler = Assembler(shard, table.spec, model, writer, on_progress)
        with watch.measure("compute"):
            end = assembler.consume(watch.measure_each(packets, "wait"))
    except BaseException:
        writer.abandon()
        raise
    for stage in STAGES:
        watch.seconds[stage] += end.seconds.get(stage, 0.0)
    progress = assembler.progress
    record = CommitRecord(
        shard=shard.shard_id,
        clips=progress.clips,
        rows={},
        errors=dict(sorted(progress.errors.items())),
        audio_s=progress.audio_s,
        windows=progress.windows,
        files={},
        container=shard.container,
        fidelity=dict(model.fidelity) if model.fidelity else None,
        writer={"passed_over": dict(end.passed_over)} if end.passed_over else {},
    )
    return EmbeddedShard(table, writer, record, watch)


def embed_shard(
    shard: Shard,
    packets: Iterable[list[Event]],
    model: Model,
    table: Table,
    on_progress: Callable[[Counts], None] = lambda _: None,
) -> CommitRecord:
    """Embed a shard, write its files and commit it, where no other attempt is possible.

    Takes and raises the same as `embed_uncommitted` and `EmbeddedShard.commit`; returns the record
    that stands in the table.
    """
    return embed_uncommitted(shard, packets, model, table, on_progress).commit()

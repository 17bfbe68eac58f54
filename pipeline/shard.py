"""One shard, from its decode stream to its commit: the same function with and without Ray."""

from collections.abc import Callable, Iterable

from pipeline.assemble import Assembler
from pipeline.commits import CommitRecord
from pipeline.model import Model
from pipeline.packets import Event
from pipeline.plan import Shard
from pipeline.progress import Progress
from pipeline.rows import RowWriter
from pipeline.stages import STAGES, Stopwatch
from pipeline.table import Table


def embed_shard(
    shard: Shard,
    packets: Iterable[list[Event]],
    model: Model,
    table: Table,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> CommitRecord:
    """Embed a shard's clips, write its files and commit it.

    Args:
        shard: what to embed.
        packets: its events, from `pipeline.packets.shard_packets`, here or on another machine.
        model: embeds windows and timestamps.
        table: takes the rows.
        on_progress: told of the counts as they grow.

    Returns:
        The commit record that stands in the table.

    Raises:
        BrokenStreamError: the stream did not account for every clip.
        StoreError: the table could not be written.
    """
    watch = Stopwatch()
    with RowWriter(table.store, table.spec, shard.shard_id) as writer:
        assembler = Assembler(shard, table.spec, model, writer, on_progress)
        with watch.during("compute"):
            end = assembler.consume(watch.each(packets, "wait"))
        # Another may have done it meanwhile, where this process was taken for dead. What it
        # commits stands, and so its files do.
        if table.is_committed(shard.shard_id):
            return next(table.records([shard.shard_id]))
        with watch.during("write"):
            files = writer.finish()
    progress = assembler.progress
    record = CommitRecord(
        shard=shard.shard_id,
        clips=progress.clips,
        rows=writer.rows,
        errors=dict(sorted(progress.errors.items())),
        audio_s=progress.audio_s,
        windows=progress.windows,
        files=files,
        container=shard.container,
        fidelity=dict(model.fidelity) if model.fidelity else None,
    )
    seconds = {stage: end.seconds.get(stage, 0.0) + watch.seconds[stage] for stage in STAGES}
    return table.commit(record, seconds)

"""What a killed run, or a changed source, makes necessary before anything is embedded."""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from pipeline.maintenance.inventory import take_inventory
from pipeline.maintenance.rewrite import rewrite_shard
from pipeline.planning.diff import Rewrite
from pipeline.planning.plan import Plan
from pipeline.table.table import Table
from pipeline.wording import count

_THREADS = 8
_READERS = 16


def apply_removals(table: Table, plan: Plan, on_done: Callable[[], None] = lambda: None) -> Plan:
    """Take away what a plan says is superseded, gone or of older versions, and all orphans.

    Args:
        table: whose lock is held.
        plan: of a run.
        on_done: called as often as a shard has been rewritten.

    Returns:
        The plan that is left: nothing is to be rewritten any more.

    Raises:
        StoreError: rows could not be read or written; what is done is done.
    """
    for shard in (*plan.damaged, *plan.superseded):
        table.commits.remove(shard)
    done = dict.fromkeys(plan.done)
    pool = ThreadPoolExecutor(_THREADS)
    try:
        ids = pool.map(partial(rewrite_shard, table), plan.rewrites)
        for rewrite, new in zip(plan.rewrites, ids, strict=True):
            on_done()
            del done[rewrite.shard]
            if new:
                done[new] = None
    finally:
        pool.shutdown(cancel_futures=True)
    clear_orphans(table, {*done, *(shard.shard_id for shard in plan.pending)})
    return replace(plan, done=tuple(sorted(done)), superseded=(), rewrites=(), damaged={})


def repair(table: Table) -> list[str]:
    """Finish what a killed run has left, and undo what damage can be undone without embedding.

    Args:
        table: whose lock is held, which clears what was half-written.

    Returns:
        What was done, a line each.

    Raises:
        StoreError: the store refused.
    """
    found = take_inventory(table)
    done = []
    for shard, reason in sorted(found.damaged.items()):
        table.commits.remove(shard)
        done.append(
            f"shard {shard}: removed, as {reason}; the next run embeds its clips again, unless "
            "other shards have them"
        )
    for shard in sorted(found.find_superseded()):
        table.commits.remove(shard)
        done.append(f"shard {shard}: removed, as another one has replaced it")
    committed = found.committed - found.find_superseded()
    for rewrite, lost in find_duplicate_clips(table, committed):
        new = rewrite_shard(table, rewrite)
        committed = (committed - {rewrite.shard}) | ({new} if new else set())
        done.append(
            f"shard {rewrite.shard}: {count(lost, 'clip')} removed that other shards have as well"
        )
    orphans = clear_orphans(table, committed)
    done += [f"{name}: removed, as it is of no committed shard" for name in orphans]
    return done


def find_duplicate_clips(table: Table, shards: AbstractSet[str]) -> list[tuple[Rewrite, int]]:
    """Return what each shard has to lose so that each clip stands once, with the number of clips.

    Args:
        table: Table whose rows are read.
        shards: Ids of the committed shards.
    """
    first: dict[str, str] = {}
    shared = set[str]()
    with ThreadPoolExecutor(_READERS) as pool:
        ordered = sorted(shards)
        for shard, clips in zip(ordered, pool.map(table.clips_of, ordered), strict=True):
            for clip in clips:
                other = first.setdefault(clip.clip_id, shard)
                if other != shard:
                    shared |= {shard, other}
    ranks, kept_ids = table.commits.ranks(sorted(shared)), set[str]()
    found = []
    for shard in sorted(shared, key=ranks.__getitem__):
        clips = table.clips_of(shard)
        kept = tuple(clip for clip in clips if clip.clip_id not in kept_ids)
        if len(kept) < len(clips) and next(table.commits.records([shard])).container:
            kept = ()  # a container is read as a whole
        kept_ids.update(clip.clip_id for clip in kept)
        if len(kept) < len(clips):
            found.append((Rewrite(shard, kept), len(clips) - len(kept)))
    return found


def clear_orphans(
    table: Table,
    known: AbstractSet[str],
    files: Mapping[str, Iterable[str]] | None = None,
) -> list[str]:
    """Delete data files of shards that are not committed; their names.

    Args:
        table: Table whose lock is held.
        known: Ids of shards whose files stay, whether they are committed or not.
        files: Names by folder, where they have been listed already.

    Raises:
        LostTableError: Another run has the table now.
    """
    orphans = table.orphans(known, files)
    if orphans:
        table.commits.check_hold()
    for name in orphans:
        table.store.delete(name)
    return orphans

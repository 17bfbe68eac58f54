"""Repairs and removals that a killed run or a changed source makes necessary."""

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
    """Remove the rows that a plan removes, and all orphans; nothing is embedded.

    Args:
        table: Table whose lock is held.
        plan: Plan of a run.
        on_done: Called each time a shard has been rewritten.

    Returns:
        The plan that is left, without removals and rewrites.

    Raises:
        StoreError: Rows could not be read or written. Shards done so far stay done.
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
    """Finish the rewrites of a killed run, and undo the damage that needs no embedding.

    Args:
        table: Table whose lock is held; taking the lock has deleted half-written files.

    Returns:
        One line for each repair.

    Raises:
        StoreError: The store refused.
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
    """Find the shards that have to lose clips so that each clip stands once.

    Each rewrite comes with the number of clips that its shard loses.

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
    """Delete the data files of shards that are not committed; return their names.

    Args:
        table: Table whose lock is held.
        known: Ids of shards whose files stay, whether they are committed or not.
        files: Names by folder; None to list them.

    Raises:
        LostTableError: Another run has the table now.
    """
    orphans = table.orphans(known, files)
    if orphans:
        table.commits.check_hold()
    for name in orphans:
        table.store.delete(name)
    return orphans

"""What a run does with rows that a table has already, before it embeds anything.

A source that grew or changed leaves rows of older versions, and of clips that are gone; some errors
are to be tried again. What of the table still holds is kept, bit by bit; the rest goes.
"""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from jobs.runtime.monitor import LINE_EVERY_S
from jobs.runtime.run_log import RunLog
from jobs.settings.config import RETRY_ALL, EmbedConfig
from pipeline.errors import UsageError
from pipeline.io.storage import Storage
from pipeline.maintenance.carried_columns import update_carried
from pipeline.maintenance.inventory import Inventory
from pipeline.maintenance.repair import apply_removals, clear_orphans
from pipeline.planning.diff import Key
from pipeline.planning.plan import Plan
from pipeline.sources.listing import Listing
from pipeline.table.spec import TableSpec
from pipeline.table.store.base import TableStore
from pipeline.table.store.open_store import open_store
from pipeline.table.table import Table
from pipeline.wording import count

_READERS = 16
_MOST_VERSIONS = 1000


def resolve_table_version(location: str, storage: Storage, spec: TableSpec) -> TableStore:
    """The place of a table's version with this spec: TABLE, TABLE-v2, ..., the first that is free.

    The same command finds the same place again.

    Args:
        location: folder or URI of the first version.
        storage: how it is reached.
        spec: of the run.

    Raises:
        UsageError: there are too many.
    """
    first = location.rstrip("/")
    for number in range(1, _MOST_VERSIONS):
        store = open_store(location if number == 1 else f"{first}-v{number}", storage)
        table = Table.read(store)
        if table is None or not table.spec.differences(spec):
            return store
    raise UsageError(f"table {location}: has {_MOST_VERSIONS} versions; name a new table")


def clips_to_retry(
    table: Table, committed: set[str], classes: tuple[str, ...], log: RunLog
) -> set[Key]:
    """Uri and member of the clips in `errors`, of some classes or of all.

    Args:
        table: the table.
        committed: Ids of its committed shards.
        classes: of errors; `all` stands for every one, and none for no clip at all.
        log: is told where there is nothing of these.

    Raises:
        StoreError: the errors cannot be read.
    """
    if not classes:
        return set()
    every = RETRY_ALL in classes
    found = Counter[str]()
    shards = []
    for record in table.commits.records(sorted(committed)):
        found.update(record.errors)
        if record.errors and (every or not record.errors.keys().isdisjoint(classes)):
            shards.append(record.shard)
    if not shards:
        there = ", ".join(f"{name} {n}" for name, n in sorted(found.items())) or "none"
        line = f"nothing to try again of class {', '.join(classes)}; the table's errors: {there}"
        log.report("nothing_to_retry", line, classes=list(classes), errors=dict(found))
    return {
        (row["uri"], row["member"])
        for row in _error_rows(table, iter(shards))
        if every or row["class"] in classes
    }


def _error_rows(table: Table, shards: Iterator[str]) -> Iterator[dict[str, str]]:
    with ThreadPoolExecutor(_READERS) as pool:
        while some := list(islice(shards, 64 * _READERS)):
            for rows in pool.map(table.errors_of, some):
                yield from rows


def check_prune(plan: Plan, config: EmbedConfig) -> None:
    """Refuse to drop most of a table: that is a source that was not there, more often than not.

    Raises:
        UsageError: too much is gone.
    """
    n_gone = len(plan.removed) if config.prune else 0
    if n_gone > config.max_prune_ratio * plan.n_committed:
        raise UsageError(
            f"prune: {n_gone:,} of the table's {count(plan.n_committed, 'clip')} are gone from the "
            f"source, {plan.removed[0].uri!r} among them: more than max_prune_ratio "
            f"{config.max_prune_ratio:g}. Nothing was dropped. See that all of the source is "
            "there; where it is, raise --max-prune-ratio"
        )


def drop_stale_rows(table: Table, plan: Plan, found: Inventory, log: RunLog) -> Plan:
    """Drop the rows that do not hold any more, and what a killed run has left.

    Args:
        table: whose lock is held.
        plan: of the run.
        found: What the table held when the plan was made.
        log: takes how far it is.

    Returns:
        What is left of the plan.

    Raises:
        StoreError: the store refused; what is done is done, and the same command goes on.
    """
    if not (plan.rewrites or plan.superseded or plan.damaged):
        known = {*plan.done, *(shard.shard_id for shard in plan.pending)}
        clear_orphans(table, known, found.files)
        return plan
    return apply_removals(table, plan, _Count(log, len(plan.rewrites)).add)


def update_carried_columns(table: Table, plan: Plan, listing: Listing, log: RunLog) -> None:
    """Update the rows of clips of which the sources say something else by now.

    Args:
        table: whose lock is held.
        plan: of the run, whose shards stand as they are.
        listing: of the sources.
        log: Takes how many clips were updated.

    Raises:
        StoreError: the store refused; what is done is done, and the same command goes on.
    """
    if n_clips := update_carried(table, plan.done, listing):
        log.report(
            "columns_updated",
            f"{count(n_clips, 'clip')} had other values of {', '.join(listing.columns)} in the "
            "table than in the source: their rows are updated, nothing is embedded again",
            clips=n_clips,
        )


class _Count:
    def __init__(self, log: RunLog, n_shards: int) -> None:
        self._log = log
        self._n_shards = n_shards
        self._n_done = 0
        self._next_s = time.monotonic() + LINE_EVERY_S

    def add(self) -> None:
        self._n_done += 1
        if time.monotonic() < self._next_s and self._n_done < self._n_shards:
            return
        self._next_s = time.monotonic() + LINE_EVERY_S
        line = f"shards rewritten without what changed or is gone: {self._n_done}/{self._n_shards}"
        self._log.report("shards_rewritten", line, shards=self._n_shards, shards_done=self._n_done)

"""The rows that a table has before a run embeds anything: retries, removals, updates.

A source that grew or changed leaves rows of older versions, and rows of clips that are gone. Rows
that still hold are kept, bit by bit; the others are dropped.
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
    """Find the version of a table that has this spec, or the first free one: TABLE, TABLE-v2, ...

    The same command finds the same version again.

    Args:
        location: Folder or URI of the first version.
        storage: Access to remote locations.
        spec: Spec of the run.

    Raises:
        UsageError: There are too many versions.
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
    """Return uri and member of the clips in `errors` that are to be tried again.

    Args:
        table: The table.
        committed: Ids of its committed shards.
        classes: Classes of errors; `all` stands for every class, an empty tuple for no clip.
        log: Log that reports if there are no such errors.

    Raises:
        StoreError: The errors cannot be read.
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
    """Check that a run does not drop most of a table, as after a source that is not mounted.

    Raises:
        UsageError: More clips are gone than `max_prune_ratio` allows.
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
    """Drop the rows that do not hold any more, and the files that a killed run has left.

    Args:
        table: Table whose lock is held.
        plan: Plan of the run.
        found: Inventory of the table from which the plan was made.
        log: Log of the progress.

    Returns:
        The plan that is left.

    Raises:
        StoreError: The store refused. Shards done so far stay done; the same command goes on.
    """
    if not (plan.rewrites or plan.superseded or plan.damaged):
        known = {*plan.done, *(shard.shard_id for shard in plan.pending)}
        clear_orphans(table, known, found.files)
        return plan
    return apply_removals(table, plan, _RewriteProgress(log, len(plan.rewrites)).add)


def update_carried_columns(table: Table, plan: Plan, listing: Listing, log: RunLog) -> None:
    """Update the rows of clips whose carried columns have other values in the sources now.

    Args:
        table: Table whose lock is held.
        plan: Plan of the run, without rewrites.
        listing: Listing of the sources.
        log: Log of the number of clips updated.

    Raises:
        StoreError: The store refused. Shards done so far stay done; the same command goes on.
    """
    if n_clips := update_carried(table, plan.done, listing):
        log.report(
            "columns_updated",
            f"{count(n_clips, 'clip')} had other values of {', '.join(listing.columns)} in the "
            "table than in the source: their rows are updated, nothing is embedded again",
            clips=n_clips,
        )


class _RewriteProgress:
    """Reports the number of rewritten shards, every few seconds."""

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

"""Updates of the rows that a table already has, before a run embeds anything.

When a source changes, the table has rows of older versions of files and rows of clips that are
gone. A run drops the rows of older versions, and with `--prune` the rows of clips that are gone.
All other rows keep their embeddings bit for bit. A retried clip loses its row in `errors`.
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
"""Threads that read the errors of shards; a store answers each request slowly."""
_MAX_VERSIONS = 1000
"""Upper limit of the version numbers that are tried."""


def resolve_table_version(location: str, storage: Storage, spec: TableSpec) -> TableStore:
    """Find the version of a table that has this spec, or the first version that does not exist yet.

    The versions are TABLE, TABLE-v2, TABLE-v3 and so on. The same command always finds the same
    version.

    Args:
        location: Folder or URI of the first version.
        storage: Access to remote locations.
        spec: Spec of the run.

    Raises:
        UsageError: All versions exist and have other specs.
    """
    first = location.rstrip("/")
    for number in range(1, _MAX_VERSIONS + 1):
        store = open_store(location if number == 1 else f"{first}-v{number}", storage)
        table = Table.read(store)
        if table is None or not table.spec.differences(spec):
            return store
    raise UsageError(
        f"table {location}: has {_MAX_VERSIONS} versions with other settings; name a new table"
    )


def clips_to_retry(
    table: Table, committed: set[str], classes: tuple[str, ...], log: RunLog
) -> set[Key]:
    """Return the uri and member of each failed clip that the run retries.

    Args:
        table: Table whose `errors` are read.
        committed: Ids of the table's committed shards.
        classes: Error classes to retry. `all` selects every class, an empty tuple no clip.
        log: Log that reports if the table has no errors of these classes.

    Raises:
        StoreError: The errors cannot be read.
    """
    if not classes:
        return set()
    all_classes = RETRY_ALL in classes
    found = Counter[str]()
    shards = []
    for record in table.commits.records(sorted(committed)):
        found.update(record.errors)
        if record.errors and (all_classes or not record.errors.keys().isdisjoint(classes)):
            shards.append(record.shard)
    if not shards:
        present = ", ".join(f"{name} {n}" for name, n in sorted(found.items())) or "none"
        line = f"nothing to retry of class {', '.join(classes)}; the table's errors: {present}"
        log.report("nothing_to_retry", line, classes=list(classes), errors=dict(found))
    return {
        (row["uri"], row["member"])
        for row in _error_rows(table, iter(shards))
        if all_classes or row["class"] in classes
    }


def _error_rows(table: Table, shards: Iterator[str]) -> Iterator[dict[str, str]]:
    with ThreadPoolExecutor(_READERS) as pool:
        # In groups, because `map` would submit the reads of all shards at once.
        while group := list(islice(shards, 64 * _READERS)):
            for rows in pool.map(table.errors_of, group):
                yield from rows


def check_prune(plan: Plan, config: EmbedConfig) -> None:
    """Raise UsageError if a run would drop too many clips of its table.

    A source that is not mounted looks as if all of its clips were gone.

    Raises:
        UsageError: More clips are gone than `max_prune_ratio` allows.
    """
    n_gone = len(plan.removed) if config.prune else 0
    if n_gone > config.max_prune_ratio * plan.n_committed:
        raise UsageError(
            f"prune: {n_gone:,} of the table's {count(plan.n_committed, 'clip')} are gone from the "
            f"source, {plan.removed[0].uri!r} among them: more than max_prune_ratio "
            f"{config.max_prune_ratio:g}. Nothing was dropped. Check that all of the source "
            "is available; if it is, raise --max-prune-ratio"
        )


def drop_stale_rows(table: Table, plan: Plan, inventory: Inventory, log: RunLog) -> Plan:
    """Drop the rows that the plan removes, and the files that a killed run has left.

    Args:
        table: Table whose lock is held.
        plan: Plan of the run.
        inventory: Inventory of the table from which the plan was made.
        log: Log of the run, which receives the number of rewritten shards.

    Returns:
        The remaining plan, without rewrites and removals.

    Raises:
        StoreError: Rows could not be read or written. Finished shards stay finished, and the same
            command continues.
    """
    if not (plan.rewrites or plan.superseded or plan.damaged):
        known = {*plan.done, *(shard.shard_id for shard in plan.pending)}
        clear_orphans(table, known, inventory.files)
        return plan
    return apply_removals(table, plan, _RewriteProgress(log, len(plan.rewrites)).add)


def update_carried_columns(table: Table, plan: Plan, listing: Listing, log: RunLog) -> None:
    """Update the rows of clips whose carried columns have new values in the sources.

    Args:
        table: Table whose lock is held.
        plan: Plan of the run, without rewrites.
        listing: Listing of the sources, with the values of the carried columns.
        log: Log of the run, which receives the number of updated clips.

    Raises:
        StoreError: Rows could not be read or written. Finished shards stay finished, and the same
            command continues.
    """
    if n_clips := update_carried(table, plan.done, listing):
        log.report(
            "columns_updated",
            f"{count(n_clips, 'clip')} had other values of {', '.join(listing.columns)} in the "
            "table than in the source: their rows are updated, nothing is embedded again",
            clips=n_clips,
        )


class _RewriteProgress:
    """Progress of the rewrites, logged every few seconds and at the end."""

    def __init__(self, log: RunLog, n_shards: int) -> None:
        self._log = log
        self._n_shards = n_shards
        self._n_done = 0
        self._next_s = time.monotonic() + LINE_EVERY_S

    def add(self) -> None:
        """Count a rewritten shard, and log the number if it is time to."""
        self._n_done += 1
        if time.monotonic() < self._next_s and self._n_done < self._n_shards:
            return
        self._next_s = time.monotonic() + LINE_EVERY_S
        line = f"shards rewritten without changed or removed clips: {self._n_done}/{self._n_shards}"
        self._log.report("shards_rewritten", line, shards=self._n_shards, shards_done=self._n_done)

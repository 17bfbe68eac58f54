"""Counts of a whole table at the end of a run, with a check for changes by other runs.

A run that was suspended may lose its table and still commit one shard, because no store can check
the hold of the table and put the commit record in one step. The run that has the table now finds
this shard at its end, and removes the duplicate rows.
"""

from jobs.runtime.run_log import RunLog
from pipeline.maintenance.inventory import Inventory
from pipeline.maintenance.repair import repair
from pipeline.planning.plan import Plan
from pipeline.progress import Counts
from pipeline.table.commit_record import CommitRecord
from pipeline.table.table import Table
from pipeline.wording import count


class TableTotals:
    """Counts of a table, updated while a run commits shards.

    Args:
        table: Table whose lock is held.
        inventory: Inventory of the table from which the plan was made. Its counts are updated.
        plan: Plan of the run.

    Attributes:
        n_gone: Number of committed shards whose records were missing at the end; 0 before `final`.
    """

    def __init__(self, table: Table, inventory: Inventory, plan: Plan) -> None:
        self.n_gone = 0
        self._table = table
        self._counts = inventory.counts
        # Removals and rewrites change the counts of the inventory.
        self._counts_valid = not (plan.rewrites or plan.superseded or plan.damaged)
        self._committed = set[str]()

    def add(self, record: CommitRecord) -> None:
        """Count a committed shard, unless it has been counted already.

        Args:
            record: Commit record of the shard.
        """
        if record.shard not in self._committed:
            self._committed.add(record.shard)
            self._counts.add(record.counts)

    def final(self, plan: Plan, log: RunLog) -> Counts:
        """Return the counts of the table at the end of the run.

        Also remove duplicate rows that another run has committed, and report missing records.

        Args:
            plan: Remaining plan, after removals and rewrites.
            log: Log of the run, which receives the changes made by other runs.

        Raises:
            StoreError: The store is unavailable.
        """
        listed, expected = self._table.commits.ids(), {*plan.done, *self._committed}
        # A listing may lag, so each record that differs is also requested by name.
        foreign = {each for each in listed - expected if self._table.commits.is_committed(each)}
        gone = {each for each in expected - listed if not self._table.commits.is_committed(each)}
        if foreign:
            self._repair_table(len(foreign), log)
        if gone:
            self.n_gone = len(gone)
            line = (
                f"the records of {count(len(gone), 'committed shard')} are gone: something "
                "outside this run deletes files of the table; the same command embeds their clips "
                "again"
            )
            log.report("shards_gone", line, "error", shards=len(gone))
        if foreign or gone or not self._counts_valid:
            self._counts = Counts()
            for record in self._table.commits.records(
                sorted(self._table.commits.ids()), or_gone=True
            ):
                self._counts.add(record.counts)
        return self._counts

    def _repair_table(self, n_shards: int, log: RunLog) -> None:
        """Repair the table after a run committed shards though it had lost the table."""
        repairs = repair(self._table)
        line = (
            f"another run, which had lost this table, committed {count(n_shards, 'shard')} "
            "during this run; the duplicate rows of its clips are removed"
        )
        log.report("table_shared", line, "warning", shards=n_shards, done=repairs)

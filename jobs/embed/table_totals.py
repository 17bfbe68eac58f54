"""What the table holds at the end of a run, and what another run has done to it meanwhile.

A run that stood still and lost its table may commit one shard after that, as no store checks and
puts in one step. The run that has the table now finds the stranger's shard at its end, and sees to
it that no clip stands twice.
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
    """Counts of the table, kept while a run commits.

    Args:
        table: Table whose lock is held.
        found: What the table held when the plan was made.
        plan: Plan of the run.

    Attributes:
        n_gone: Committed shards whose records were gone at the end; known after `final`.
    """

    def __init__(self, table: Table, found: Inventory, plan: Plan) -> None:
        self.n_gone = 0
        self._table = table
        self._counts = found.counts
        self._is_counted = not (plan.rewrites or plan.superseded or plan.damaged)
        self._made = set[str]()

    def add(self, record: CommitRecord) -> None:
        """Count a shard that was committed."""
        if record.shard not in self._made:
            self._made.add(record.shard)
            self._counts.add(record.counts)

    def final(self, plan: Plan, log: RunLog) -> Counts:
        """Return the counts of the table at the end of the run.

        Args:
            plan: What was left of the plan before anything was embedded.
            log: Log that takes what another run has done.

        Raises:
            StoreError: The store is unavailable.
        """
        listed, expected = self._table.commits.ids(), {*plan.done, *self._made}
        # By their names, as a listing may lag.
        strange = {each for each in listed - expected if self._table.commits.is_committed(each)}
        gone = {each for each in expected - listed if not self._table.commits.is_committed(each)}
        if strange:
            self._heal(len(strange), log)
        if gone:
            self.n_gone = len(gone)
            line = (
                f"the records of {count(len(gone), 'committed shard')} are gone: something else "
                "deletes files of the table; the same command embeds their clips again"
            )
            log.report("shards_gone", line, "error", shards=len(gone))
        if strange or gone or not self._is_counted:
            self._counts = Counts()
            for record in self._table.commits.records(
                sorted(self._table.commits.ids()), or_gone=True
            ):
                self._counts.add(record.counts)
        return self._counts

    def _heal(self, n_shards: int, log: RunLog) -> None:
        """Undo what a run has committed that had lost the table."""
        done = repair(self._table)
        line = (
            f"another run, which had lost this table, committed {count(n_shards, 'shard')} "
            "meanwhile; each clip has one row again"
        )
        log.report("table_shared", line, "warning", shards=n_shards, done=done)

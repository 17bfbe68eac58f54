"""Which clips have failed, for a run's log: the first ones of each class.

They are read back from the `errors` of the shards that were committed. So what is told is what the
table holds, once however often a shard was tried, and no receipt grows by it. Of a hundred million
clips millions may fail: after the first ones of a class the log has their number alone.
"""

from collections import Counter
from dataclasses import replace
from functools import cached_property

from jobs.logs import RunLog
from jobs.run_note import HURRIED_S
from pipeline.commits import CommitRecord
from pipeline.errors import StoreError
from pipeline.stores import open_store
from pipeline.table import Table

CLIPS_TOLD = 1000
"""Clips of each class that a run tells of."""


class FailedClips:
    """Tells of the clips that failed.

    Args:
        log: of the run.
        table: that the run writes.
        most: clips of each class.
    """

    def __init__(self, log: RunLog, table: Table, most: int = CLIPS_TOLD) -> None:
        self._log = log
        self._table = table
        self._most = most
        self._seen: Counter[str] = Counter()

    def tell(self, record: CommitRecord) -> None:
        """A shard is committed."""
        if not self._log.as_json:
            return
        left = {name: max(0, self._most - self._seen[name]) for name in record.errors}
        if any(left.values()):
            self._tell_some(record, left)
        for name, n_clips in record.errors.items():
            seen, self._seen[name] = self._seen[name], self._seen[name] + n_clips
            if seen <= self._most < self._seen[name]:
                self._log.detail(
                    "clips_not_told",
                    f"{self._most} clips of class {name} are in this log; further ones are in "
                    f"{self._table.store.locate('errors')} alone",
                    error_class=name,
                )

    @cached_property
    def _hurried(self) -> Table:
        """The table, for a run that must not wait for its log while the store is out of order."""
        storage = replace(self._log.storage, timeout_s=min(self._log.storage.timeout_s, HURRIED_S))
        return Table(open_store(self._table.store.location, storage), self._table.spec)

    def _tell_some(self, record: CommitRecord, left: dict[str, int]) -> None:
        try:
            rows = self._hurried.errors_of(record.shard)
        except (StoreError, OSError) as error:
            self._log.detail(
                "errors_not_read",
                f"shard {record.shard}: which clips failed cannot be read: {error}",
                "warning",
                shard=record.shard,
                reason=str(error),
            )
            return
        for row in rows:
            if not left[row["class"]]:
                continue
            left[row["class"]] -= 1
            self._log.detail(
                "clip_failed",
                f"{row['class']}: {row['message']}",
                "warning",
                shard=record.shard,
                clip=row["uri"],
                member=row["member"] or None,
                clip_id=row["clip_id"],
                stage=row["stage"],
                error_class=row["class"],
                reason=row["message"],
            )

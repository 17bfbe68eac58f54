"""The failed clips in a run's log and at its end: the first ones of each class.

They are read back from the `errors` of committed shards. So the log has what the table holds, once
per clip, however often a shard was attempted, and receipts stay small. Of a hundred million clips
millions may fail, so after the first ones of a class the log has only their number. People see a
few of each class at the end of the run; `passtream errors` shows all of them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

from jobs.embed.run_recorder import HURRIED_S
from jobs.runtime.error_text import class_text, error_text
from jobs.runtime.run_log import RunLog
from pipeline.errors import StoreError
from pipeline.table.commit_record import CommitRecord
from pipeline.table.store.open_store import open_store
from pipeline.table.table import Table
from pipeline.wording import count

CLIPS_TOLD = 1000
"""Largest number of failed clips of a class in the log."""
CLIPS_SHOWN = 3
"""Number of failed clips of a class that people see at the end of a run."""


class FailedClipLog:
    """The log of the clips that failed.

    Args:
        log: Log of the run.
        table: Table of the run.
        most: Largest number of clips of a class in the log.
    """

    def __init__(self, log: RunLog, table: Table, most: int = CLIPS_TOLD) -> None:
        self._log = log
        self._table = table
        self._most = most if log.as_json else CLIPS_SHOWN
        self._seen: Counter[str] = Counter()
        self._first: defaultdict[str, list[str]] = defaultdict(list)

    def lines(self) -> Iterator[tuple[str, int]]:
        """Yield the lines for the end of a run, each with its indent."""
        if not self._seen:
            return
        yield "clips that could not be embedded:", 0
        for name, n_clips in sorted(self._seen.items()):
            yield f"  {class_text(name, n_clips)}", 4
            for text in self._first[name]:
                yield f"    {text}", 6
            if (n_more := n_clips - len(self._first[name])) > 0:
                yield f"    and {n_more:,} more", 6

    def report(self, record: CommitRecord) -> None:
        """Report the failed clips of a shard that was committed."""
        left = {name: max(0, self._most - self._seen[name]) for name in record.errors}
        if any(left.values()):
            self._report_some(record, left)
        for name, n_clips in record.errors.items():
            seen, self._seen[name] = self._seen[name], self._seen[name] + n_clips
            if seen <= self._most < self._seen[name]:
                self._log.detail(
                    "clips_not_told",
                    f"{count(self._most, 'clip')} of class {name} are in this log; further ones "
                    f"are in {self._table.store.locate('errors')} alone",
                    error_class=name,
                )

    @cached_property
    def _hurried(self) -> Table:
        """The table with a short timeout, because a run must not wait for its log."""
        storage = replace(self._log.storage, timeout_s=min(self._log.storage.timeout_s, HURRIED_S))
        return Table(open_store(self._table.store.location, storage), self._table.spec)

    def _report_some(self, record: CommitRecord, left: dict[str, int]) -> None:
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
            if not left.get(row["class"]):
                continue
            left[row["class"]] -= 1
            if not self._log.as_json:
                self._first[row["class"]].append(error_text(row))
                continue
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

"""The log of failed clips: the first failures of each error class, and the number of the others.

Failed clips are read back from the `errors` of committed shards. So the log agrees with the table
and has each clip once, even if a shard took several attempts. Messages from the actors stay small.
Millions of clips may fail in a large run, so the log names a limited number of clips per class. On
a terminal, the end of the run shows a few clips of each class; `passtream errors` shows all.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

from jobs.embed.run_recorder import SHORT_TIMEOUT_S
from jobs.runtime.error_text import class_text, error_text
from jobs.runtime.run_log import RunLog
from pipeline.errors import StoreError
from pipeline.table.commit_record import CommitRecord
from pipeline.table.store.open_store import open_store
from pipeline.table.table import Table
from pipeline.wording import count

CLIPS_LOGGED = 1000
"""Largest number of failed clips per error class in a JSON log."""
CLIPS_SHOWN = 3
"""Number of failed clips per error class that the end of a run shows on a terminal."""


class FailedClipLog:
    """Log of the clips that failed in a run.

    A JSON log gets an event per failed clip. Without JSON, the clips are kept for `lines`.

    Args:
        log: Log of the run.
        table: Table of the run.
        max_logged: Largest number of clips per error class in a JSON log.
    """

    def __init__(self, log: RunLog, table: Table, max_logged: int = CLIPS_LOGGED) -> None:
        self._log = log
        self._table = table
        self._max_clips = max_logged if log.as_json else CLIPS_SHOWN
        self._n_failed: Counter[str] = Counter()
        self._shown: defaultdict[str, list[str]] = defaultdict(list)

    def lines(self) -> Iterator[tuple[str, int]]:
        """Yield the lines for the end of a run, each with the indent of its continuation lines."""
        if not self._n_failed:
            return
        yield "clips that could not be embedded:", 0
        for name, n_clips in sorted(self._n_failed.items()):
            yield f"  {class_text(name, n_clips)}", 4
            for text in self._shown[name]:
                yield f"    {text}", 6
            if (n_more := n_clips - len(self._shown[name])) > 0:
                yield f"    and {n_more:,} more", 6

    def report(self, record: CommitRecord) -> None:
        """Log the failed clips of a committed shard, up to the limit of each error class.

        Args:
            record: Commit record of the shard.
        """
        n_left = {name: max(0, self._max_clips - self._n_failed[name]) for name in record.errors}
        if any(n_left.values()):
            self._report_clips(record, n_left)
        for name, n_clips in record.errors.items():
            n_before = self._n_failed[name]
            self._n_failed[name] += n_clips
            if n_before <= self._max_clips < self._n_failed[name]:
                self._log.detail(
                    "clips_not_told",
                    f"{count(self._max_clips, 'clip')} of class {name} are in this log; further "
                    f"clips are only in {self._table.store.locate('errors')}",
                    error_class=name,
                )

    @cached_property
    def _table_with_short_timeout(self) -> Table:
        """Table opened with a short timeout, because a run must not wait for its log."""
        storage = replace(
            self._log.storage, timeout_s=min(self._log.storage.timeout_s, SHORT_TIMEOUT_S)
        )
        return Table(open_store(self._table.store.location, storage), self._table.spec)

    def _report_clips(self, record: CommitRecord, n_left: dict[str, int]) -> None:
        try:
            rows = self._table_with_short_timeout.errors_of(record.shard)
        except (StoreError, OSError) as error:
            self._log.detail(
                "errors_not_read",
                f"shard {record.shard}: its failed clips cannot be read: {error}",
                "warning",
                shard=record.shard,
                reason=str(error),
            )
            return
        for row in rows:
            if not n_left.get(row["class"]):
                continue
            n_left[row["class"]] -= 1
            if not self._log.as_json:
                self._shown[row["class"]].append(error_text(row))
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

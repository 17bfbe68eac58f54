"""The commit records of a table: which shards count, and which run may commit them.

A shard counts once its commit record exists. The record is written last, by a put that fails if
it is there already, so of two writers of one shard a single record stands.
"""

import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace

from pipeline.errors import LostTableError, StoreError
from pipeline.shards import Rank
from pipeline.table.commit_record import CommitRecord
from pipeline.table.store.base import TableStore
from pipeline.table.store.hold import Hold, elapsed_s
from pipeline.table.store.lease_file import lost_message
from pipeline.table_layout import COMMITS_DIR, DATA_DIRS, commit_name, data_name, shard_of

_RECENT_S = 15.0
"""Seconds for which a check of the hold need not be repeated before data files are written."""


class CommitLog:
    """The commit records of a table.

    Args:
        store: The files of the table.
        hold: Hold of the run that writes; None for a caller that needs no check.

    Attributes:
        hold: The same; it may be set later.
    """

    def __init__(self, store: TableStore, hold: Hold | None = None) -> None:
        self._store = store
        self.hold = hold
        self._checked_s = -_RECENT_S

    def check_hold(self, unless_recent: bool = False) -> None:
        """Raise `LostTableError` if another run has the table now.

        Args:
            unless_recent: Whether a check of the last seconds is enough.

        Raises:
            LostTableError: Another run has it.
            StoreError: The store is unavailable.
        """
        now_s = elapsed_s()
        if self.hold is None or (unless_recent and now_s - self._checked_s < _RECENT_S):
            return
        if lost_to := self._store.taken_by(self.hold):
            raise LostTableError(lost_message(self._store, lost_to))
        self._checked_s = now_s

    def ids(self) -> set[str]:
        """Return the ids of the committed shards; one listing."""
        names = self._store.names(COMMITS_DIR)
        return {shard for name in names if name.endswith(".json") and (shard := shard_of(name))}

    def is_committed(self, shard: str) -> bool:
        """Return whether a shard is committed."""
        return self._store.size(commit_name(shard)) is not None

    def records(self, shards: Iterable[str], or_gone: bool = False) -> Iterator[CommitRecord]:
        """Yield the commit records of shards.

        Args:
            shards: Ids of the shards.
            or_gone: Whether missing records are skipped, because a listing that lags may still name
                them.

        Raises:
            StoreError: A record is missing or damaged.
        """
        for name, content in self._store.read_many(map(commit_name, shards)):
            if content is None:
                if or_gone:
                    continue
                raise StoreError(f"{self._store.locate(name)}: is gone")
            try:
                yield CommitRecord.from_bytes(content)
            except StoreError as error:
                raise StoreError(f"{self._store.locate(name)}: {error}") from error

    def commit(self, record: CommitRecord, seconds: Mapping[str, float]) -> CommitRecord:
        """Commit a shard; return the record that stands, which may be an earlier writer's.

        The data files must be in place already.

        Args:
            record: Record of the shard.
            seconds: Seconds that the shard took, by stage.

        Raises:
            LostTableError: Another run has the table now.
        """
        writer = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
            "seconds": {stage: round(each, 3) for stage, each in seconds.items()},
            "finished_s": round(time.time(), 3),
        }
        return self.put(replace(record, writer=record.writer | writer))

    def put(self, record: CommitRecord) -> CommitRecord:
        """Create a record as it is; return the record that stands, which may be an earlier one.

        Raises:
            LostTableError: Another run has the table now.
        """
        if self.hold:
            record = replace(record, lease=self.hold.number)
        self.check_hold()  # as late as possible: no store can check and put in one step
        if self._store.put_if_absent(commit_name(record.shard), _as_bytes(record)):
            return record
        return self._standing(record.shard)

    def discard(self, record: CommitRecord) -> None:
        """Delete the data files of a shard that could not be committed because the table was lost.

        Where another run has committed the same shard, the files belong to that run. Their rows are
        the same, and only the sizes in its record may have to be corrected.
        """
        if self.is_committed(record.shard):
            self._standing(record.shard)
            return
        for name in record.files:
            self._store.delete(name)

    def remove(self, shard: str) -> None:
        """Remove a shard: first its record, because without it the files are orphans.

        Raises:
            LostTableError: Another run has the table now.
        """
        self.check_hold()
        self._store.delete(commit_name(shard))
        for folder in DATA_DIRS:
            self._store.delete(data_name(folder, shard))

    def superseded(self, committed: Iterable[str]) -> set[str]:
        """Return the committed shards that other committed shards have replaced.

        Raises:
            StoreError: A record is damaged.
        """
        ours = set(committed)
        records = self.records(sorted(ours), or_gone=True)
        return {shard for record in records for shard in record.replaces if shard in ours}

    def ranks(self, shards: Iterable[str]) -> dict[str, Rank]:
        """Return the order in which shards keep a clip that several of them have.

        The shard of the later hold comes first, because the earlier run had lost the table. Records
        of older versions have no number of a hold. Of those the shard that was finished first comes
        first, because the writer of the other one stood still.

        Raises:
            StoreError: A record is damaged.
        """
        return {
            record.shard: (-(record.lease or 0), record.finished_s or 0.0, record.shard)
            for record in self.records(shards, or_gone=True)
        }

    def _standing(self, shard: str) -> CommitRecord:
        """Return the record of another writer, with the present sizes of its files.

        This writer stood still between looking for that record and writing its own files over the
        others. The rows are the same, but another device may have made files of other sizes.
        """
        while True:
            record = next(self.records([shard]))
            found = {name: self._store.size(name) for name in record.files}
            sizes = {name: size for name, size in found.items() if size is not None}
            if sizes == record.files or len(sizes) < len(found):
                return record
            with self._store.replacing(commit_name(shard)) as path:
                path.write_bytes(_as_bytes(replace(record, files=sizes)))


def _as_bytes(record: CommitRecord) -> bytes:
    return json.dumps(asdict(record)).encode()

"""A table: its spec, its commit records, and the names of its files.

    TABLE/_passtream/table.json            the spec, created once
    TABLE/_passtream/commits/<shard>.json  one a finished shard, written last, put-if-absent
    TABLE/_passtream/run.json              of the last run: when it began, how it ended
    TABLE/clips/<shard>.parquet            one row a clip
    TABLE/windows/<shard>.parquet          one row a window, if asked for
    TABLE/timestamps/<shard>.parquet       one row a timestamp, if asked for
    TABLE/errors/<shard>.parquet           one row a clip that could not be embedded, if any

A shard counts once its commit record is there. Its data files have one name each and are replaced
whole, so a shard that is done twice leaves one set of rows. Files of other names are somebody
else's: they are reported, and never deleted.
"""

import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, replace
from typing import Any, cast

import pyarrow.parquet as pq

from pipeline.clips import ClipRef, Container
from pipeline.errors import LostTableError, StoreError, UsageError
from pipeline.shards import Rank
from pipeline.table.commit_record import CommitRecord
from pipeline.table.spec import TableSpec
from pipeline.table.store.base import TableStore
from pipeline.table.store.hold import Hold, elapsed_s
from pipeline.table.store.lease import lost_message
from pipeline.table_layout import (
    COMMITS_DIR,
    DATA_DIRS,
    META_DIR,
    SPEC_NAME,
    commit_name,
    data_name,
    shard_of,
)

CLIP_COLUMNS = ("uri", "source_version", "member")
"""The columns that a `ClipRef` is made of, in its order."""
_FORMAT = "passtream table"
_RECENT_S = 15.0
"""Seconds for which a check of the hold need not be repeated before data files are written."""


class Table:
    """A table with a known spec.

    Args:
        store: where it lies.
        spec: what its rows have in common.
        fidelity: how far its models are from fp32, as the first commit record that knows says;
            None in fp32, and before there is one.
        hold: Hold of the run that writes; None where the caller needs no check.
    """

    def __init__(
        self,
        store: TableStore,
        spec: TableSpec,
        fidelity: dict[str, Any] | None = None,
        hold: Hold | None = None,
    ) -> None:
        self.store = store
        self.spec = spec
        self.fidelity = fidelity
        self.hold = hold
        self._checked_s = -_RECENT_S

    @classmethod
    def read(cls, store: TableStore) -> "Table | None":
        """The table that is there, None where there is none.

        Raises:
            UsageError: something is there, but not a table of this schema.
        """
        content = store.read(SPEC_NAME)
        if content is None:
            return None
        try:
            fields = json.loads(content)
            if fields["format"] != _FORMAT:
                raise KeyError("format")
            return cls(store, TableSpec.from_json(fields["spec"]), fields.get("fidelity"))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise UsageError(
                f"{store.locate(SPEC_NAME)} is not a passtream table: {error}"
            ) from error

    @classmethod
    def existing(cls, store: TableStore) -> "Table":
        """The table that is there.

        Raises:
            UsageError: there is none.
        """
        table = cls.read(store)
        if table is None:
            raise UsageError(f"table {store.location!r}: no passtream table there (no {SPEC_NAME})")
        return table

    @classmethod
    def open_or_create(cls, store: TableStore, spec: TableSpec) -> "Table":
        """The table for a run with this spec, made if there is none.

        Raises:
            UsageError: the table has another spec; the differing fields are named.
        """
        if store.read(SPEC_NAME) is None:
            check_is_table_or_empty(store)
            store.create((COMMITS_DIR, *spec.tables, "errors"))
            store.put_if_absent(SPEC_NAME, cls(store, spec)._content())
        table = cls.read(store)
        assert table is not None
        if differences := table.spec.differences(spec):
            raise UsageError(
                f"table {store.location} was made with other settings (table, this run): "
                f"{'; '.join(differences)}. Run with the table's settings, name a new table, or "
                "let --new-spec make the next version beside it"
            )
        return table

    def _content(self) -> bytes:
        fields = {"format": _FORMAT, "fidelity": self.fidelity, "spec": self.spec.to_json()}
        return json.dumps(fields, indent=1).encode()

    def note_fidelity(self, record: CommitRecord) -> None:
        """Keep a record's fidelity in table.json, if it is the first; only under the table's lock.

        Raises:
            StoreError: the store refused.
        """
        if self.fidelity is None and record.fidelity is not None:
            self.fidelity = record.fidelity
            with self.store.replacing(SPEC_NAME) as path:
                path.write_bytes(self._content())

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
        if lost_to := self.store.taken_by(self.hold):
            raise LostTableError(lost_message(self.store, lost_to))
        self._checked_s = now_s

    def committed(self) -> set[str]:
        """Ids of the committed shards: one listing."""
        names = self.store.names(COMMITS_DIR)
        return {shard for name in names if name.endswith(".json") and (shard := shard_of(name))}

    def is_committed(self, shard: str) -> bool:
        """Whether a shard is committed."""
        return self.store.size(commit_name(shard)) is not None

    def records(self, shards: Iterable[str], or_gone: bool = False) -> Iterator[CommitRecord]:
        """Commit records of shards.

        Args:
            shards: Ids of the shards.
            or_gone: Whether records that are gone are passed over, as a listing may lag and still
                name them.

        Raises:
            StoreError: a record is gone or damaged.
        """
        for name, content in self.store.read_many(map(commit_name, shards)):
            if content is None:
                if or_gone:
                    continue
                raise StoreError(f"{self.store.locate(name)}: is gone")
            try:
                yield CommitRecord.from_bytes(content)
            except StoreError as error:
                raise StoreError(f"{self.store.locate(name)}: {error}") from error

    def commit(self, record: CommitRecord, seconds: Mapping[str, float]) -> CommitRecord:
        """Make a shard count; the record that stands, which may be an earlier writer's.

        The data files must be in place already.

        Args:
            record: of the shard.
            seconds: that it took, by stage.

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
        """Create a record that says by whom it is; the one that stands, which may be an earlier.

        Raises:
            LostTableError: Another run has the table now.
        """
        if self.hold:
            record = replace(record, lease=self.hold.number)
        self.check_hold()  # as late as can be: no store checks and puts in one step
        if self.store.put_if_absent(commit_name(record.shard), _as_bytes(record)):
            return record
        return self._standing(record.shard)

    def discard(self, record: CommitRecord) -> None:
        """Delete the data files of a shard that could not be committed, as the table was lost.

        Where another run has committed the same shard, the files are that run's by name; the rows
        are the same, and only the record's sizes may have to be corrected.
        """
        if self.is_committed(record.shard):
            self._standing(record.shard)
            return
        for name in record.files:
            self.store.delete(name)

    def remove(self, shard: str) -> None:
        """Take a shard away: first its record, as without it the files are orphans.

        Raises:
            LostTableError: Another run has the table now.
        """
        self.check_hold()
        self.store.delete(commit_name(shard))
        for folder in DATA_DIRS:
            self.store.delete(data_name(folder, shard))

    def superseded(self, committed: Iterable[str]) -> set[str]:
        """Those of committed shards that others of them have taken the place of.

        Raises:
            StoreError: a record is damaged.
        """
        ours = set(committed)
        records = self.records(sorted(ours), or_gone=True)
        return {shard for record in records for shard in record.replaces if shard in ours}

    def ranks(self, shards: Iterable[str]) -> dict[str, Rank]:
        """Return for shards the order in which they keep a clip that several of them have.

        The shard of the later hold comes first, as the earlier run was the one that had lost the
        table. Between shards without a hold's number, of older versions, the one that was
        finished first comes first, as the late one stood still.

        Raises:
            StoreError: A record is damaged.
        """
        return {
            record.shard: (-(record.lease or 0), record.finished_s or 0.0, record.shard)
            for record in self.records(shards, or_gone=True)
        }

    def _standing(self, shard: str) -> CommitRecord:
        """The record of another writer, with the sizes that the files have by now.

        This one stood still between looking for that record and writing its own files over the
        other's: the same rows, but of another device maybe, and so of another size.
        """
        while True:
            record = next(self.records([shard]))
            found = {name: self.store.size(name) for name in record.files}
            sizes = {name: size for name, size in found.items() if size is not None}
            if sizes == record.files or len(sizes) < len(found):
                return record
            with self.store.replacing(commit_name(shard)) as path:
                path.write_bytes(_as_bytes(replace(record, files=sizes)))

    def contents_of(self, shard: str) -> list[ClipRef] | Container:
        """What a committed shard was planned with.

        Raises:
            StoreError: its record is gone or damaged.
        """
        return next(self.records([shard])).container or self.clips_of(shard)

    def clips_of(self, shard: str) -> list[ClipRef]:
        """The clips of a committed shard, from its `clips` and `errors` rows."""
        clips = []
        for table in ("clips", "errors"):
            name = data_name(table, shard)
            if self.store.size(name) is None:
                continue
            with self.store.open(name) as file:
                # Not in Arrow's threads, as in `verify`.
                rows = pq.ParquetFile(file, pre_buffer=False).read(
                    list(CLIP_COLUMNS), use_threads=False
                )
            columns = (rows[name].to_pylist() for name in CLIP_COLUMNS)
            clips += [ClipRef(*values) for values in zip(*columns, strict=True)]
        return clips

    def errors_of(self, shard: str) -> list[dict[str, str]]:
        """The `errors` rows of a committed shard.

        Raises:
            StoreError, OSError: they cannot be read.
        """
        with self.store.open(data_name("errors", shard)) as file:
            rows = pq.ParquetFile(file, pre_buffer=False).read(use_threads=False)
        return cast("list[dict[str, str]]", rows.to_pylist())

    def files(self) -> dict[str, dict[str, int]]:
        """Return names and sizes in bytes of the data files, by folder: one listing each."""
        return {folder: self.store.names(folder) for folder in DATA_DIRS}

    def orphans(
        self, committed: AbstractSet[str], files: Mapping[str, Iterable[str]] | None = None
    ) -> list[str]:
        """Return data files of shards that are not committed.

        No file is one because a listing lacks its record, as a listing may lag: each such record is
        asked for by its name.

        Args:
            committed: Ids of the shards that are known to be committed.
            files: Names by folder, where they have been listed already.
        """
        listed = self.files() if files is None else files
        found = [
            (f"{folder}/{name}", shard)
            for folder in DATA_DIRS
            for name in sorted(listed[folder])
            if name.endswith(".parquet") and (shard := shard_of(name)) and shard not in committed
        ]
        standing = {s for s in {shard for _, shard in found} if self.is_committed(s)}
        return [name for name, shard in found if shard not in standing]

    def strangers(self) -> list[str]:
        """Return files in the folders of data and records whose names no run gives."""
        suffixes = dict.fromkeys(DATA_DIRS, ".parquet") | {COMMITS_DIR: ".json"}
        return [
            f"{folder}/{name}"
            for folder, suffix in suffixes.items()
            for name in sorted(self.store.names(folder))
            if not (shard_of(name) and name.endswith(suffix))
        ]


def _as_bytes(record: CommitRecord) -> bytes:
    return json.dumps(asdict(record)).encode()


def check_is_table_or_empty(store: TableStore) -> None:
    """Refuse a place that is neither a table nor free for one.

    Raises:
        UsageError: a file, or a folder with other files, is in the way.
    """
    if store.read(SPEC_NAME) is not None:
        return
    strangers = store.entries()
    # A run killed between making the folders and the spec leaves these.
    if set(strangers) - {META_DIR, *DATA_DIRS}:
        raise UsageError(
            f"table {store.location}: holds other files ({', '.join(strangers[:3])}, ...) and is "
            "no passtream table; name a new or empty folder"
        )

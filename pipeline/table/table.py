"""A table: its spec, its commit log, and reading back what its shards hold.

    TABLE/_passtream/table.json            the spec, created once
    TABLE/_passtream/commits/<shard>.json  one per finished shard, written last
    TABLE/_passtream/run.json              the last run: when it began, how it ended
    TABLE/clips/<shard>.parquet            one row per clip
    TABLE/windows/<shard>.parquet          one row per window, if asked for
    TABLE/timestamps/<shard>.parquet       one row per timestamp, if asked for
    TABLE/errors/<shard>.parquet           one row per clip that could not be embedded, if any

A shard counts once its commit record exists. Its data files have one name each and are replaced
whole, so a shard that is embedded twice leaves one set of rows. Files of other names were not
written by a run: they are reported, and never deleted.
"""

import json
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, cast

import pyarrow.parquet as pq

from pipeline.clips import ClipRef, Container
from pipeline.errors import UsageError
from pipeline.table.commit_log import CommitLog
from pipeline.table.commit_record import CommitRecord
from pipeline.table.spec import TableSpec
from pipeline.table.store.base import TableStore
from pipeline.table.store.hold import Hold
from pipeline.table_layout import (
    COMMITS_DIR,
    DATA_DIRS,
    META_DIR,
    SPEC_NAME,
    data_name,
    shard_of,
)

CLIP_COLUMNS = ("uri", "source_version", "member")
"""Columns that a `ClipRef` is made of, in the order of its fields."""
_FORMAT = "passtream table"


class Table:
    """A table with a known spec.

    Args:
        store: Files of the table.
        spec: Settings that all rows have in common.
        fidelity: Distance of the models from fp32, by the first commit record that has it; None in
            fp32, and before there is such a record.
        hold: Hold of the run that writes; None where the caller needs no check.

    Attributes:
        commits: The table's commit records.
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
        self.commits = CommitLog(store, hold)

    @classmethod
    def read(cls, store: TableStore) -> "Table | None":
        """Read the table of a store; return None where there is none.

        Raises:
            UsageError: The store holds something that is not a table of this schema.
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
        """Read the table of a store.

        Raises:
            UsageError: The store holds no table.
        """
        table = cls.read(store)
        if table is None:
            raise UsageError(f"table {store.location!r}: no passtream table there (no {SPEC_NAME})")
        return table

    @classmethod
    def open_or_create(cls, store: TableStore, spec: TableSpec) -> "Table":
        """Open the table for a run with this spec, or create it.

        Raises:
            UsageError: The table has another spec; the differing fields are named.
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
        """Write the fidelity of the first record that has one to table.json.

        The caller must hold the table's lock.

        Raises:
            StoreError: The store refused.
        """
        if self.fidelity is None and record.fidelity is not None:
            self.fidelity = record.fidelity
            with self.store.replacing(SPEC_NAME) as path:
                path.write_bytes(self._content())

    def contents_of(self, shard: str) -> list[ClipRef] | Container:
        """Return the clips or the container that a committed shard was made of.

        Raises:
            StoreError: Its record is missing or damaged.
        """
        return next(self.commits.records([shard])).container or self.clips_of(shard)

    def clips_of(self, shard: str) -> list[ClipRef]:
        """Return the clips of a committed shard, from its `clips` and `errors` rows."""
        clips = []
        for table in ("clips", "errors"):
            name = data_name(table, shard)
            if self.store.size(name) is None:
                continue
            with self.store.open(name) as file:
                # Without Arrow's threads; `maintenance.verify` says why.
                rows = pq.ParquetFile(file, pre_buffer=False).read(
                    list(CLIP_COLUMNS), use_threads=False
                )
            columns = (rows[name].to_pylist() for name in CLIP_COLUMNS)
            clips += [ClipRef(*values) for values in zip(*columns, strict=True)]
        return clips

    def errors_of(self, shard: str) -> list[dict[str, str]]:
        """Return the `errors` rows of a committed shard.

        Raises:
            StoreError, OSError: They cannot be read.
        """
        with self.store.open(data_name("errors", shard)) as file:
            rows = pq.ParquetFile(file, pre_buffer=False).read(use_threads=False)
        return cast("list[dict[str, str]]", rows.to_pylist())

    def files(self) -> dict[str, dict[str, int]]:
        """Return the names and sizes in bytes of the data files, by folder; one listing each."""
        return {folder: self.store.names(folder) for folder in DATA_DIRS}

    def orphans(
        self, committed: AbstractSet[str], files: Mapping[str, Iterable[str]] | None = None
    ) -> list[str]:
        """Return data files of shards that are not committed.

        A listing may lag, so each record that it lacks is also asked for by its name.

        Args:
            committed: Ids of the shards that are known to be committed.
            files: Names by folder; None to list them.
        """
        listed = self.files() if files is None else files
        found = [
            (f"{folder}/{name}", shard)
            for folder in DATA_DIRS
            for name in sorted(listed[folder])
            if name.endswith(".parquet") and (shard := shard_of(name)) and shard not in committed
        ]
        standing = {s for s in {shard for _, shard in found} if self.commits.is_committed(s)}
        return [name for name, shard in found if shard not in standing]

    def strangers(self) -> list[str]:
        """Return the files in the table's folders that have names which no run gives."""
        suffixes = dict.fromkeys(DATA_DIRS, ".parquet") | {COMMITS_DIR: ".json"}
        return [
            f"{folder}/{name}"
            for folder, suffix in suffixes.items()
            for name in sorted(self.store.names(folder))
            if not (shard_of(name) and name.endswith(suffix))
        ]


def check_is_table_or_empty(store: TableStore) -> None:
    """Check that a store holds a table, or nothing.

    Raises:
        UsageError: A file, or a folder with other files, is in the way.
    """
    if store.read(SPEC_NAME) is not None:
        return
    strangers = store.entries()
    # A run that was killed between creating the folders and the spec leaves these.
    if set(strangers) - {META_DIR, *DATA_DIRS}:
        raise UsageError(
            f"table {store.location}: holds other files ({', '.join(strangers[:3])}, ...) and is "
            "no passtream table; name a new or empty folder"
        )

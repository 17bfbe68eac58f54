"""The inventory of a table: each commit record compared with the files that it names.

A data file may be gone (a lifecycle rule of the bucket, a person) or have another size than its
record says. A listing may lag, so nothing is concluded from it alone. A record or file that a
listing lacks, or shows with another size, is looked up by its name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.maintenance.carried_columns import is_half_updated
from pipeline.planning.committed import Contents
from pipeline.progress import Counts
from pipeline.shards import Rank
from pipeline.table.commit_record import CommitRecord
from pipeline.table.table import Table
from pipeline.table_layout import DATA_DIRS, data_name, shard_of


@dataclass(slots=True)
class Inventory:
    """Committed shards of a table, each compared with its data files.

    Attributes:
        table: The table.
        committed: Ids of the committed shards whose data files are there.
        damaged: Ids of committed shards whose data files are not there as their record says, with
            the reason.
        superseded: Ids of committed shards that others of `committed` have replaced; None where no
            records were read.
        files: Sizes in bytes of the data files, by folder and name.
        counts: Counts of `committed` without `superseded`; nothing where no records were read.
    """

    table: Table
    committed: set[str]
    damaged: dict[str, str] = field(default_factory=dict)
    superseded: set[str] | None = None
    files: dict[str, dict[str, int]] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)

    @property
    def ids(self) -> set[str]:
        """Ids of the committed shards whose data files are there."""
        return self.committed

    def contents_of(self, shard: str) -> Contents:
        """Return the clips or the container of a shard.

        Raises:
            StoreError: Its commit record is missing or damaged.
        """
        return self.table.contents_of(shard)

    def find_superseded(self) -> set[str]:
        """Return the ids of shards that others have replaced; reads all records if none were read.

        Raises:
            StoreError: A record is damaged.
        """
        if self.superseded is None:
            self.superseded = self.table.commits.superseded(self.committed)
        return self.superseded

    def ranks(self, shards: Iterable[str]) -> dict[str, Rank]:
        """Return the order in which shards keep a clip that several of them have.

        Raises:
            StoreError: A record is damaged.
        """
        return self.table.commits.ranks(shards)


def take_inventory(table: Table, read_records: bool = True) -> Inventory:
    """Compare the commit records of a table with its data files.

    Args:
        table: The table; nothing is changed.
        read_records: Whether sizes are compared as well, and counts added up; without, only the
            names of the files are compared, which takes no request per shard.

    Raises:
        StoreError: The store is unavailable, or a record is damaged.
    """
    files = table.files()
    found = Inventory(table, committed_shards(table, files), files=files)
    if read_records:
        _compare_records(table, found)
    else:
        _compare_names(table, found)
    found.committed -= found.damaged.keys()
    return found


def committed_shards(table: Table, files: Mapping[str, Iterable[str]]) -> set[str]:
    """Return the ids of the committed shards, with those whose record a listing lacks.

    Args:
        table: The table.
        files: Names of the data files by folder. A record that is not listed is looked up if its
            data files exist.
    """
    listed = table.commits.ids()
    with_data = {shard_of(name) for folder in DATA_DIRS for name in files[folder]}
    return listed | {
        shard for shard in with_data - listed if shard and table.commits.is_committed(shard)
    }


def _compare_records(table: Table, found: Inventory) -> None:
    read, replaces = set[str](), dict[str, tuple[str, ...]]()
    for record in table.commits.records(sorted(found.committed), or_gone=True):
        if reason := _damage(table, record, found.files):
            found.damaged[record.shard] = reason
            continue
        read.add(record.shard)
        found.counts.add(record.counts)
        if record.replaces:
            replaces[record.shard] = record.replaces
    found.committed &= read | found.damaged.keys()
    found.superseded = {each for some in replaces.values() for each in some if each in read}
    for record in table.commits.records(sorted(found.superseded), or_gone=True):
        found.counts.subtract(record.counts)


def _damage(
    table: Table, record: CommitRecord, files: Mapping[str, Mapping[str, int]]
) -> str | None:
    for name, n_bytes in record.files.items():
        folder, _, file = name.partition("/")
        if files.get(folder, {}).get(file) == n_bytes:
            continue
        size = table.store.size(name)
        if size is None:
            return f"{name} is gone"
        if size != n_bytes and not (folder == "clips" and _is_updated(table, record, name)):
            return f"{name} has {size} bytes, its commit says {n_bytes}"
    return None


def _is_updated(table: Table, record: CommitRecord, name: str) -> bool:
    """Return whether a file of `clips` is whole but has another size after an update."""
    if not (table.spec.columns and is_half_updated(table)):
        return False
    try:
        with table.store.open(name) as file:
            n_rows: int = pq.ParquetFile(file, pre_buffer=False).metadata.num_rows
    except (OSError, pa.ArrowException):
        return False
    return n_rows == record.rows["clips"]


def _compare_names(table: Table, found: Inventory) -> None:
    for shard in sorted(found.committed):
        for folder in table.spec.tables:
            name = data_name(folder, shard)
            is_there = f"{shard}.parquet" in found.files[folder]
            if not is_there and table.store.size(name) is None:
                found.damaged[shard] = f"{name} is gone"

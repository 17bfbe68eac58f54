"""The carried columns of a table: comparing them with the source, and updating them.

A manifest may be corrected while its recordings stay the same. The rows of `clips` then get the new
values, and nothing is embedded again. The table keeps a digest of all values, so that a run finds
in one small file that nothing has changed.

A run may be killed between writing a shard's new file and its record, which has the size of the
file. No digest is kept until the last shard is done, so the next run compares again and corrects
that record.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import StoreError
from pipeline.planning.diff import Key
from pipeline.sources.listing import Listing
from pipeline.table.commit_record import CommitRecord
from pipeline.table.row_group_file import RowFile
from pipeline.table.row_writer import GROUP_BYTES, group_rows
from pipeline.table.schema import schemas
from pipeline.table.table import Table
from pipeline.table_layout import META_DIR, commit_name, data_name

Carried = tuple[str | None, ...]
_NOTE_NAME = f"{META_DIR}/carried.json"
_KEY_COLUMNS = ("uri", "member")
_THREADS = 8


def values_of(listing: Listing) -> dict[Key, Carried]:
    """Return the carried values of each clip, in the order of the listing's columns."""
    nothing = (None,) * len(listing.columns)
    return {(clip.uri, clip.member): clip.carried or nothing for clip in listing.clips}


def is_up_to_date(table: Table, listing: Listing) -> bool:
    """Return whether the last run found the same values in its sources and in the table's rows.

    Args:
        table: The table.
        listing: The listing of the sources.
    """
    if not listing.columns:
        return True
    content = table.store.read(_NOTE_NAME)
    try:
        noted = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return False
    return isinstance(noted, dict) and noted.get("digest") == _digest(listing)


def is_half_updated(table: Table) -> bool:
    """Return whether a run was killed while it gave rows new values.

    A shard's file may then have another size than its record says; the next update corrects it.

    Args:
        table: The table.
    """
    content = table.store.read(_NOTE_NAME)
    return content is not None and content == _NOTHING_NOTED


def clips_with_other_values(table: Table, shards: Iterable[str], listing: Listing) -> list[Key]:
    """Return uri and member of the clips whose rows do not have the values of the sources.

    Args:
        table: The table; its carried columns are read.
        shards: Ids of the committed shards to compare.
        listing: The listing of the sources.

    Raises:
        StoreError: Rows cannot be read.
    """
    values = values_of(listing)
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(partial(_others, table, listing.columns, values), shards)
        return [key for keys in found for key in keys]


def update_carried(table: Table, shards: Sequence[str], listing: Listing) -> int:
    """Give the rows of committed shards the values that the sources have now.

    Args:
        table: The table, whose lock is held.
        shards: Ids of its committed shards.
        listing: The listing of the sources; its columns are those of the table.

    Returns:
        The number of clips whose values were changed.

    Raises:
        StoreError: Rows cannot be read or written. What is done is done.
        LostTableError: Another run has the table now.
    """
    if is_up_to_date(table, listing):
        return 0
    values = values_of(listing)
    n_changed, is_noted = 0, True
    if shards:
        sizes = table.store.names("clips")
        with ThreadPoolExecutor(_THREADS) as pool:
            records = table.commits.records(shards, or_gone=True)
            compared = pool.map(partial(_compare, table, listing.columns, values), records)
            for record, others in compared:
                name = data_name("clips", record.shard)
                is_whole = sizes.get(f"{record.shard}.parquet") == record.files.get(name)
                if others or not is_whole:
                    if is_noted:
                        _note(table, "")
                        is_noted = False
                    _update(table, record, listing.columns, values)
                    n_changed += len(others)
    _note(table, _digest(listing))
    return n_changed


def _as_note(digest: str) -> bytes:
    return json.dumps({"digest": digest}).encode()


_NOTHING_NOTED = _as_note("")


def _digest(listing: Listing) -> str:
    digest = hashlib.blake2b(json.dumps(listing.columns).encode(), digest_size=16)
    for clip in listing.clips:
        digest.update(repr((clip.uri, clip.member, clip.carried)).encode())
    return digest.hexdigest()


def _note(table: Table, digest: str) -> None:
    table.commits.check_hold(unless_recent=True)
    with table.store.replacing(_NOTE_NAME) as path:
        path.write_bytes(_as_note(digest))


def _compare(
    table: Table, columns: Sequence[str], values: Mapping[Key, Carried], record: CommitRecord
) -> tuple[CommitRecord, list[Key]]:
    if record.container or not record.rows.get("clips"):
        return record, []
    return record, _others(table, columns, values, record.shard)


def _others(
    table: Table, columns: Sequence[str], values: Mapping[Key, Carried], shard: str
) -> list[Key]:
    name = data_name("clips", shard)
    try:
        with table.store.open(name) as file:
            # Without Arrow's threads; `maintenance.verify` says why.
            rows = pq.ParquetFile(file, pre_buffer=False).read(
                [*_KEY_COLUMNS, *columns], use_threads=False
            )
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{table.store.locate(name)} cannot be read: {error}") from error
    return [
        key for key, there in rows_of(rows, columns) if (new := values.get(key)) and new != there
    ]


def rows_of(rows: pa.Table, columns: Sequence[str]) -> Iterator[tuple[Key, Carried]]:
    """Yield uri and member of each row of `clips`, with its values of some carried columns."""
    found = [rows[name].to_pylist() for name in (*_KEY_COLUMNS, *columns)]
    return (((uri, member), tuple(there)) for uri, member, *there in zip(*found, strict=True))


def _update(
    table: Table, record: CommitRecord, columns: Sequence[str], values: Mapping[Key, Carried]
) -> None:
    """Write a shard's `clips` with new values, and its record with the file's new size."""
    name, schema = data_name("clips", record.shard), schemas(table.spec)["clips"]
    table.commits.check_hold(unless_recent=True)
    file = RowFile(table.store, name, schema, group_rows(schema, GROUP_BYTES))
    try:
        with table.store.open(name) as old:
            parquet = pq.ParquetFile(old, pre_buffer=False)
            for group in range(parquet.num_row_groups):
                rows = parquet.read_row_group(group, use_threads=False)
                file.write(_with_values(rows, columns, values))
            file.publish()
    except BaseException as error:
        file.abandon()
        if isinstance(error, OSError | pa.ArrowException):
            raise StoreError(f"{table.store.locate(name)} cannot be updated: {error}") from error
        raise
    size = table.store.size(name)
    if size is None:
        raise StoreError(f"{table.store.locate(name)}: was written, and is gone")
    table.commits.check_hold()
    updated = dataclasses.replace(record, files=record.files | {name: size})
    with table.store.replacing(commit_name(record.shard)) as path:
        path.write_bytes(json.dumps(dataclasses.asdict(updated)).encode())


def _with_values(rows: pa.Table, columns: Sequence[str], values: Mapping[Key, Carried]) -> Any:
    new = [values.get(key, there) for key, there in rows_of(rows, columns)]
    for at, column in enumerate(columns):
        place = rows.schema.get_field_index(column)
        texts = pa.array([each[at] for each in new], pa.string())
        rows = rows.set_column(place, rows.schema.field(place), texts)
    return rows

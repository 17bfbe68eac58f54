"""`row_group_file`: a file that grows by row groups; a dropped clip leaves no trace."""

import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import StoreError
from pipeline.io.storage import Storage
from pipeline.table import row_group_file
from pipeline.table.row_group_file import RowFile
from pipeline.table.store.local import LocalStore
from pipeline.table.store.remote import RemoteStore
from pipeline.table_layout import TEMP_DIR

SCHEMA = pa.schema(
    [pa.field("clip_id", pa.string(), nullable=False), pa.field("n", pa.int64(), nullable=False)],
    {"passtream": "{}"},
)
GROUP_ROWS = 10


def rows_of(clip, n):
    return pa.table([pa.repeat(str(clip), n), pa.array(range(n), pa.int64())], schema=SCHEMA)


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    store = LocalStore(tmp_path_factory.mktemp("table"))
    store.create(("timestamps",))
    return store


def written(store, blocks, dropped=()):
    """The bytes of a file of blocks (clip, rows), from which clips are dropped at some point."""
    file = RowFile(store, "timestamps/s.parquet", SCHEMA, GROUP_ROWS)
    for place, (clip, n) in enumerate(blocks):
        file.write(rows_of(clip, n))
        for gone in (clip for clip, last in dropped if last == place):
            file.drop(str(gone))
    n_rows = file.publish()
    path = store.path("timestamps/s.parquet")
    assert pq.read_metadata(path).num_rows == n_rows
    assert store.names(TEMP_DIR) == {}
    return path.read_bytes()


@given(st.lists(st.integers(1, 35), max_size=8), st.data())
def test_a_dropped_clip_leaves_no_trace(store, sizes, data):
    """Clips have up to three row groups, in two blocks; some fail, at once or blocks later."""
    blocks = [(clip, n) for clip, size in enumerate(sizes) for n in (size // 2, size - size // 2)]
    dropped = []
    if sizes:
        gone = data.draw(st.sets(st.integers(0, len(sizes) - 1)))
        ends = st.integers(0, len(blocks) - 1)
        dropped = [(clip, max(2 * clip + 1, data.draw(ends))) for clip in gone]
    left = [block for block in blocks if block[0] not in dict(dropped)]
    assert written(store, blocks, dropped) == written(store, left)


def test_row_groups_are_full_but_the_last(store):
    written(store, [("a", 7), ("b", 25), ("c", 3)])
    metadata = pq.read_metadata(store.path("timestamps/s.parquet"))
    groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert groups == [10, 10, 10, 5]


@pytest.mark.parametrize("blocks", [[], [("a", 3)]])
def test_without_rows_there_is_an_empty_file(store, blocks):
    written(store, blocks, [(clip, 0) for clip, _ in blocks])
    rows = pq.read_table(store.path("timestamps/s.parquet"))
    assert rows.schema.equals(SCHEMA, check_metadata=True)
    assert rows.num_rows == 0


@pytest.mark.parametrize("dropped", [False, True])
def test_abandoned_leaves_nothing(store, dropped):
    file = RowFile(store, "timestamps/abandoned.parquet", SCHEMA, GROUP_ROWS)
    for clip in ("a", "b"):
        file.write(rows_of(clip, 25))
    if dropped:
        file.drop("a")
    assert len(store.names(TEMP_DIR)) == 1
    file.abandon()
    assert store.names(TEMP_DIR) == {}
    assert "abandoned.parquet" not in store.names("timestamps")


@pytest.mark.parametrize("step", ["__init__", "write_table", "close"])
def test_a_rewrite_that_fails_leaves_nothing(store, monkeypatch, step):
    file = RowFile(store, "timestamps/full.parquet", SCHEMA, GROUP_ROWS)
    for clip in ("a", "b"):
        file.write(rows_of(clip, 25))
    file.drop("a")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, step, full)
    with pytest.raises(StoreError, match=r"full\.parquet cannot be written: .*No space left"):
        file.publish()
    file.abandon()
    assert store.names(TEMP_DIR) == {}
    assert "full.parquet" not in store.names("timestamps")


def test_a_full_disk_is_told_by_the_store_whose_disk_it_is(monkeypatch):
    """A remote table's rows wait in TMPDIR."""

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(row_group_file, "parquet_writer", full)
    store = RemoteStore("memory://full/table", Storage())
    file = RowFile(store, "timestamps/s.parquet", SCHEMA, GROUP_ROWS)
    with pytest.raises(StoreError, match=r"by way of .*TMPDIR.*No space left"):
        file.write(rows_of("a", 25))


def test_memory_does_not_follow_the_rows(store):
    """Two clips of 300 row groups, 13 MB each; the first is dropped at the end of the second."""
    before = pa.total_allocated_bytes()
    group_rows, most = 1000, 0
    schema = SCHEMA.append(pa.field("wide", pa.binary(36), nullable=False))
    file = RowFile(store, "timestamps/s.parquet", schema, group_rows)
    block = pa.table(
        [pa.repeat("x", 500), pa.array(range(500), pa.int64()), pa.array([bytes(36)] * 500)],
        schema=SCHEMA.append(pa.field("wide", pa.binary())),
    ).cast(schema)
    tracemalloc.start()
    try:
        for clip in ("a", "b"):
            shared = block.set_column(0, schema.field(0), pa.repeat(clip, 500))
            for _ in range(600):
                file.write(shared)
                most = max(most, pa.total_allocated_bytes() - before)
        file.drop("a")
        assert file.publish() == 300_000
        most = max(most, tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    # Some row groups of 45 kB and the writer's buffers and footer; the file's rows are 27 MB.
    assert most < 3e6

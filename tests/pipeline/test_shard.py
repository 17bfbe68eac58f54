"""`pipeline.shard`: a shard is committed whole, or not at all."""

import pyarrow.parquet as pq
import pytest

from pipeline.clips import ClipRef
from pipeline.errors import BrokenStreamError
from pipeline.packets import shard_packets
from pipeline.plan import plan_shards
from pipeline.shard import embed_shard
from pipeline.store import TEMP_DIR
from pipeline.table import DATA_DIRS

BOTH = {"tables": ("clips", "windows")}


@pytest.fixture
def shard(tmp_path, make_spec, write_clip):
    """Clips of 500 and 1000 samples, one too short and one that is missing."""
    clips = [write_clip(tmp_path / f"{n}.wav", n) for n in (500, 1000, 10)]
    clips.append(ClipRef(str(tmp_path / "gone.wav"), "missing"))
    (shard,) = plan_shards(clips, make_spec(**BOTH).digest, 100)
    return shard


def contents(table):
    return {
        f"{folder}/{name}": table.store.read(f"{folder}/{name}")
        for folder in DATA_DIRS
        for name in table.store.names(folder)
    }


def test_the_record_counts_what_is_in_the_table(new_table, model, shard):
    table = new_table(**BOTH)
    packets = shard_packets(shard.clips, table.spec.decode_rule)
    record = embed_shard(shard, packets, model, table)
    assert record.shard == shard.shard_id
    assert record.clips == 4
    # A clip of n samples has 1 + n // 160 windows.
    assert record.rows == {"clips": 2, "windows": 4 + 7, "errors": 2}
    assert record.windows == 4 + 7
    assert record.errors == {"missing": 1, "too_short": 1}
    assert record.audio_s == 1500 / 32_000
    assert record.files == {name: len(content) for name, content in contents(table).items()}
    assert list(table.records(table.committed())) == [record]


def test_done_twice_is_the_same_files_and_one_record(new_table, model, shard):
    table = new_table(**BOTH)
    records, files = [], []
    for _ in range(2):
        packets = shard_packets(shard.clips, table.spec.decode_rule)
        records.append(embed_shard(shard, packets, model, table))
        files.append(contents(table))
    assert records[0] == records[1]
    assert files[0] == files[1]
    assert pq.read_table(table.store.path("clips"))["uri"].to_pylist() == [
        clip.uri for clip in shard.clips if clip.uri.endswith(("500.wav", "1000.wav"))
    ]


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
def test_a_model_that_fails_leaves_no_trace(new_table, shard, error):
    class Failing:
        def embed(self, windows):
            raise error

    table = new_table(**BOTH)
    packets = shard_packets(shard.clips, table.spec.decode_rule)
    with pytest.raises(type(error)):
        embed_shard(shard, packets, Failing(), table)
    assert contents(table) == table.store.names(TEMP_DIR) == {}
    assert table.committed() == set()


def test_a_stream_that_ends_early_leaves_no_trace(new_table, model, shard):
    table = new_table(**BOTH)
    packets = list(shard_packets(shard.clips, table.spec.decode_rule, 1))
    with pytest.raises(BrokenStreamError):
        embed_shard(shard, packets[:-1], model, table)
    assert contents(table) == table.store.names(TEMP_DIR) == {}
    assert table.committed() == set()


def test_progress_is_told_up_to_the_end(new_table, model, shard):
    table, seen = new_table(**BOTH), []
    packets = shard_packets(shard.clips, table.spec.decode_rule)
    record = embed_shard(shard, packets, model, table, lambda p: seen.append(p.clips))
    assert seen[-1] == record.clips == 4

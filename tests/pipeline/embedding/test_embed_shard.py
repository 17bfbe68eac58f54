"""`pipeline.embedding.embed_shard`: a shard is committed whole, or not at all."""

from copy import copy

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from pipeline.audio import SAMPLE_RATE_HZ
from pipeline.clips import ClipRef
from pipeline.embedding.embed_shard import embed_shard, embed_uncommitted
from pipeline.errors import BrokenStreamError
from pipeline.io.versions import file_version
from pipeline.maintenance.verify import verify_table
from pipeline.planning.plan import plan_shards
from pipeline.readers.shard_reader import clip_recordings
from pipeline.stream.packets import shard_packets
from pipeline.table_layout import DATA_DIRS, TEMP_DIR, commit_name
from tests.pipeline.conftest import Outputs, StatisticsModel

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
    packets = shard_packets(clip_recordings(shard.clips), table.spec.decode_rule)
    record = embed_shard(shard, packets, model, table)
    assert record.shard == shard.shard_id
    assert record.clips == 4
    # A clip of n samples has 1 + n // 160 windows.
    assert record.rows == {"clips": 2, "windows": 4 + 7, "errors": 2}
    assert record.windows == 4 + 7
    assert record.errors == {"missing": 1, "too_short": 1}
    assert record.audio_s == 1500 / 32_000
    assert record.files == {name: len(content) for name, content in contents(table).items()}
    assert list(table.commits.records(table.commits.ids())) == [record]


def test_done_twice_is_the_same_files_and_one_record(new_table, model, shard):
    table = new_table(**BOTH)
    records, files = [], []
    for _ in range(2):
        packets = shard_packets(clip_recordings(shard.clips), table.spec.decode_rule)
        records.append(embed_shard(shard, packets, model, table))
        files.append(contents(table))
        table.store.delete(commit_name(shard.shard_id))  # as if killed before that
    assert records[0] == records[1]
    assert files[0] == files[1]
    assert pq.read_table(table.store.path("clips"))["uri"].to_pylist() == [
        clip.uri for clip in shard.clips if clip.uri.endswith(("500.wav", "1000.wav"))
    ]


def test_who_comes_late_leaves_what_another_committed(new_table, model, shard):
    """As a process does that was taken for dead, and woke up; its rows differ in their bits."""
    table = new_table(**BOTH)

    class OtherModel(StatisticsModel):
        def embed(self, windows):
            found = super().embed(windows)
            return Outputs(found.features * np.float32(1.0001), found.logits)

    def late_packets():
        yield from shard_packets(clip_recordings(shard.clips), table.spec.decode_rule)
        embed_shard(
            shard, shard_packets(clip_recordings(shard.clips), table.spec.decode_rule), model, table
        )
        before.update(contents(table))

    before = {}
    record = embed_shard(shard, late_packets(), OtherModel(), table)
    assert [record] == list(table.commits.records(table.commits.ids()))
    assert contents(table) == before
    assert table.store.names(TEMP_DIR) == {}
    assert verify_table(table).passed


class NoisyModel(StatisticsModel):
    """As on another device: the same rows, and files of other sizes."""

    def embed(self, windows):
        found = super().embed(windows)
        noise = np.random.default_rng(0).standard_normal(found.features.shape) * 1e-6
        return Outputs(found.features + noise.astype(np.float32), found.logits)


@pytest.mark.parametrize("step", range(4))
def test_who_stood_still_while_another_wrote_leaves_a_sound_table(
    new_table, model, shard, monkeypatch, step
):
    """It has looked for a record, and put none to all of its three files in place."""
    table, other = new_table(**BOTH), new_table(**BOTH)
    late, prompt = (
        embed_uncommitted(
            shard, shard_packets(clip_recordings(shard.clips), table.spec.decode_rule), each, where
        )
        for each, where in ((NoisyModel(), table), (model, other))
    )
    replacing, put_if_absent = table.store.replacing, table.store.put_if_absent
    records, n_steps = [], 0

    def wait(name):
        nonlocal n_steps
        if n_steps == step:
            records.append(prompt.commit())
        n_steps += 1

    def replacing_late(name):
        wait(name)
        return replacing(name)

    def put_late(name, content):
        wait(name)
        return put_if_absent(name, content)

    monkeypatch.setattr(table.store, "replacing", replacing_late)
    monkeypatch.setattr(table.store, "put_if_absent", put_late)
    record = late.commit()
    assert records
    sizes = {name: len(content) for name, content in contents(table).items()}
    assert (record.rows, record.files) == (records[0].rows, sizes)
    assert list(table.commits.records(table.commits.ids())) == [record]
    assert verify_table(table).passed


def test_timestamps_done_twice_are_the_same_files(
    new_table, model, tmp_path, write_clip, noise, listed, timestamps
):
    """One of the clips fails after many of its timestamps are on the disk."""
    pcm = noise(3_000_000)
    pcm[-1] = np.nan
    soundfile.write(tmp_path / "nan.wav", pcm, SAMPLE_RATE_HZ, subtype="FLOAT")
    clips = [write_clip(tmp_path / f"{n}.wav", n) for n in (500, 1000)]
    table = new_table(**timestamps)
    (shard,) = plan_shards([*clips, listed(tmp_path / "nan.wav")], table.spec.digest, 100)
    records, files = [], []
    for _ in range(2):
        packets = shard_packets(clip_recordings(shard.clips), table.spec.decode_rule)
        records.append(embed_shard(shard, packets, model, table))
        files.append(contents(table))
        assert verify_table(table).passed
        table.store.delete(commit_name(shard.shard_id))  # as if killed before that
    assert records[0] == records[1]
    assert files[0] == files[1]
    # 1 + 500 // 160 and 1 + 1000 // 160; the failed clip's 18,751 are more than a row group.
    assert records[0].rows == {"clips": 2, "timestamps": 4 + 7, "errors": 1}


@pytest.mark.parametrize("fidelity", [None, {"precision": "bf16", "cosine_min": 0.75}])
def test_the_record_holds_the_models_fidelity_and_the_files_do_not(
    new_table, model, shard, fidelity
):
    table, bare = new_table(**BOTH), None
    for each in (type(model)(), type(model)(fidelity)):
        packets = shard_packets(clip_recordings(shard.clips), table.spec.decode_rule)
        table.store.delete(commit_name(shard.shard_id))
        record = embed_shard(shard, packets, each, table)
        bare = bare or contents(table)
    assert record.fidelity == fidelity
    assert next(table.commits.records([shard.shard_id])).fidelity == fidelity
    assert contents(table) == bare


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
def test_a_model_that_fails_leaves_no_trace(new_table, shard, error):
    class Failing:
        fidelity = None

        def embed(self, windows):
            raise error

    table = new_table(**BOTH)
    packets = shard_packets(clip_recordings(shard.clips), table.spec.decode_rule)
    with pytest.raises(type(error)):
        embed_shard(shard, packets, Failing(), table)
    assert contents(table) == table.store.names(TEMP_DIR) == {}
    assert table.commits.ids() == set()


def test_a_stream_that_ends_early_leaves_no_trace(new_table, model, shard):
    table = new_table(**BOTH)
    packets = list(shard_packets(clip_recordings(shard.clips), table.spec.decode_rule, 1))
    with pytest.raises(BrokenStreamError):
        embed_shard(shard, packets[:-1], model, table)
    assert contents(table) == table.store.names(TEMP_DIR) == {}
    assert table.commits.ids() == set()


def test_progress_is_told_up_to_the_end(new_table, model, shard):
    table, seen = new_table(**BOTH), []
    packets = shard_packets(clip_recordings(shard.clips), table.spec.decode_rule)
    record = embed_shard(shard, packets, model, table, lambda p: seen.append(p.clips))
    assert seen[-1] == record.clips == 4


def test_a_long_clip_reports_its_progress_before_it_is_complete(new_table, model, tmp_path):
    """By its header's length, which is only known once the file is open."""
    table = new_table(window_s=10.0, hop_s=2.5)
    rate_hz, duration_s = 8_000, 300.0
    samples = np.random.default_rng(0).standard_normal(round(rate_hz * duration_s)) * 0.1
    for ending in ("wav", "flac"):
        path = tmp_path / f"long.{ending}"
        soundfile.write(path, samples, rate_hz)
        (shard,) = plan_shards([ClipRef(str(path), file_version(str(path)))], "digest", 100)
        seen = []
        packets = shard_packets(clip_recordings(shard.clips), table.spec.decode_rule)
        embed_uncommitted(
            shard, packets, model, table, lambda progress, seen=seen: seen.append(copy(progress))
        ).abandon()
        under_way = [progress for progress in seen if progress.open_windows]
        assert len(under_way) >= 3
        for progress in under_way:
            assert (progress.clips, progress.windows) == (0, 0)
            assert progress.open_audio_s == progress.open_windows * 2.5 <= duration_s
            assert progress.open_clips == pytest.approx(progress.open_audio_s / duration_s)
        last = seen[-1]
        assert (last.clips, last.audio_s) == (1, duration_s)
        assert (last.open_clips, last.open_windows, last.open_audio_s) == (0.0, 0, 0.0)

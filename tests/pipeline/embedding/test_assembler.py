"""`pipeline.embedding.assembler`: one row a clip, the mean over its windows or its error."""

import dataclasses

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

import pipeline.embedding.assembler
import pipeline.stream.windows
from pipeline.audio import SAMPLE_RATE_HZ
from pipeline.clips import ClipRef
from pipeline.embedding.assembler import Assembler
from pipeline.errors import BrokenStreamError
from pipeline.progress import Counts
from pipeline.readers.shard_reader import clip_recordings
from pipeline.shards import Shard
from pipeline.stream.events import ClipDone, ClipFailed, ClipStart, ShardEnd
from pipeline.stream.packets import shard_packets
from pipeline.stream.windows import WindowBlock, WindowCutter
from pipeline.table.row_writer import GROUP_BYTES, RowWriter

BOTH = {"tables": ("clips", "windows"), "outputs": ("embedding", "logits")}
START = ClipStart(0, ClipRef("/a.wav", "1-1"))
FAILED = ClipFailed(0, "read", "missing", "gone")
# Around the window of 320: whole, just cut, several windows, and many.
LENGTHS = (100, 320, 321, 1000, 3000)


@pytest.fixture
def assemble(model):
    """Assembles a stream into the files of shard `s`; gives their rows and the assembler."""

    def run(
        table, clips, packets, model=model, on_progress=lambda _: None, group_bytes=GROUP_BYTES
    ):
        with RowWriter(table.store, table.spec, "s", group_bytes) as writer:
            assembler = Assembler(Shard("s", tuple(clips)), table.spec, model, writer, on_progress)
            assembler.consume(packets)
            files = writer.finish()
        rows = {file.split("/")[0]: pq.read_table(table.store.path(file)) for file in files}
        return {name: data.to_pylist() for name, data in rows.items()}, assembler

    return run


@pytest.fixture
def clips(tmp_path, write_clip):
    return [write_clip(tmp_path / f"{i}.wav", n, seed=i) for i, n in enumerate(LENGTHS)]


@pytest.fixture
def small_pool(monkeypatch):
    """A batch is full with two windows, so that clips are open over many batches."""
    monkeypatch.setattr(pipeline.embedding.assembler, "POOL_S", 0.02)


def windows_of(spec, pcm):
    cutter = WindowCutter(spec.window_rule)
    blocks = [*cutter.push(pcm), *cutter.finish()]
    return [window for block in blocks for window in block.windows()]


def test_a_clips_row_is_the_mean_over_its_windows(new_table, assemble, model, clips, noise):
    table = new_table(**BOTH)
    rows, _ = assemble(table, clips, shard_packets(clip_recordings(clips), table.spec.decode_rule))
    assert [row["uri"] for row in rows["clips"]] == [clip.uri for clip in clips]
    for i, row in enumerate(rows["clips"]):
        outputs = model.embed(windows_of(table.spec, noise(LENGTHS[i], seed=i)))
        assert row["n_windows"] == len(outputs.features)
        assert row["duration_s"] == LENGTHS[i] / SAMPLE_RATE_HZ
        for name, vectors in (("embedding", outputs.features), ("logits", outputs.logits)):
            mean = vectors.mean(axis=0, dtype=np.float64)
            np.testing.assert_allclose(row[name], mean, rtol=1e-6, atol=1e-9)


def test_windows_are_in_order_with_their_spans(new_table, assemble, model, clips, noise):
    table = new_table(**BOTH)
    rows, _ = assemble(table, clips, shard_packets(clip_recordings(clips), table.spec.decode_rule))
    expected = []
    for i, n_samples in enumerate(LENGTHS):
        features = model.embed(windows_of(table.spec, noise(n_samples, seed=i))).features
        for index, vector in enumerate(features):
            start, end = table.spec.window_rule.span(index, n_samples)
            expected.append(
                (clips[i].clip_id, index, start / 32_000, end / 32_000, vector.tolist())
            )
    columns = ("clip_id", "window_index", "start_s", "end_s", "embedding")
    assert [tuple(row[name] for name in columns) for row in rows["windows"]] == expected


def test_batches_of_any_size_give_the_same_rows(new_table, assemble, model, clips, small_pool):
    table = new_table(**BOTH)
    in_small, _ = assemble(
        table, clips, shard_packets(clip_recordings(clips), table.spec.decode_rule, 1)
    )
    assert max(model.calls) == 2 + 1  # three of 100 to 320 samples fill 0.02 s
    pipeline.embedding.assembler.POOL_S = 160.0
    model.calls.clear()
    in_one, _ = assemble(
        table, clips, shard_packets(clip_recordings(clips), table.spec.decode_rule)
    )
    assert len(model.calls) == 1
    # Clips are written as they are completed, in batches of any size in the shard's order.
    assert in_small == in_one


def test_a_clip_that_fails_at_its_end_leaves_only_its_error(
    tmp_path, new_table, assemble, model, noise, listed, clips, small_pool
):
    pcm = noise(140_000)
    pcm[-1] = np.nan
    soundfile.write(tmp_path / "nan.wav", pcm, SAMPLE_RATE_HZ, subtype="FLOAT")
    clips = [clips[3], listed(tmp_path / "nan.wav"), clips[4]]
    table = new_table(**BOTH)
    rows, assembler = assemble(
        table, clips, shard_packets(clip_recordings(clips), table.spec.decode_rule)
    )
    # Most of its 873 windows had been embedded when it failed.
    assert sum(model.calls) > 800
    good = [clips[0].uri, clips[2].uri]
    assert [row["uri"] for row in rows["clips"]] == good
    assert {row["uri"] for row in rows["windows"]} == set(good)
    (error,) = rows["errors"]
    assert (error["uri"], error["stage"], error["class"]) == (clips[1].uri, "decode", "non_finite")
    assert assembler.progress.clips == 3
    # 1 + 1000 // 160 and 1 + 3000 // 160 windows; the failed clip's do not count.
    assert assembler.progress.windows == 7 + 19
    assert assembler.progress.errors == {"non_finite": 1}


class FailingModel:
    """Gives no finite features for windows of the loud clip, and no finite timestamps of the other.

    The loud clip has a sample of 5, the other one of 2. All else is the model's.
    """

    fidelity = None

    def __init__(self, model):
        self.model = model

    def embed_timestamps(self, stream, n):
        embeddings = self.model.embed_timestamps(stream, n)
        embeddings[embeddings[:, 2] == 2] = np.inf
        return embeddings

    def embed(self, windows):
        outputs = self.model.embed(windows)
        features = outputs.features.copy()
        features[[bool(np.abs(window).max() > 3) for window in windows]] = np.nan
        return dataclasses.replace(outputs, features=features)


def test_output_that_is_not_finite_is_an_error(
    tmp_path, new_table, assemble, model, noise, listed, clips
):
    pcm = noise(1000)
    pcm[900] = 5
    soundfile.write(tmp_path / "loud.wav", pcm, SAMPLE_RATE_HZ, subtype="FLOAT")
    clips = [clips[0], listed(tmp_path / "loud.wav"), clips[1]]
    table = new_table(**BOTH)
    packets = shard_packets(clip_recordings(clips), table.spec.decode_rule)
    rows, _ = assemble(table, clips, packets, FailingModel(model))
    assert [row["uri"] for row in rows["clips"]] == [clips[0].uri, clips[2].uri]
    assert len(rows["windows"]) == 2
    (error,) = rows["errors"]
    assert (error["stage"], error["class"]) == ("embed", "non_finite_output")
    assert clips[1].uri in error["message"]


def test_timestamps_are_those_of_the_reflected_clip(
    new_table, assemble, model, clips, noise, timestamps
):
    table = new_table(**timestamps)
    packets = shard_packets(clip_recordings(clips[2:]), table.spec.decode_rule)
    rows, _ = assemble(table, clips[2:], packets)
    expected = []
    for i, n_samples in list(enumerate(LENGTHS))[2:]:
        padded = np.pad(noise(n_samples, seed=i), 320, mode="reflect")
        for index in range(n_samples // 160 + 1):
            window = padded[160 * index : 160 * index + 640]
            embedding = [window[0], window[-1], np.abs(window).max()]
            expected.append(
                (clips[i].clip_id, clips[i].uri, "statistics", index, 5.0 * index, embedding)
            )
    columns = ("clip_id", "uri", "arch", "timestamp_index", "timestamp_ms", "embedding")
    assert [tuple(row[name] for name in columns) for row in rows["timestamps"]] == expected
    assert len(rows["clips"]) == 3


def test_timestamps_of_failed_clips_are_taken_back(
    tmp_path, new_table, assemble, model, noise, listed, clips, timestamps, small_pool, monkeypatch
):
    """One clip is damaged at its end, another's timestamps and a third's windows are no numbers."""
    monkeypatch.setattr(pipeline.stream.windows, "BLOCK_SAMPLES", 4000)
    damaged, silent, loud = noise(140_000), noise(3000, seed=8), noise(3000, seed=9)
    damaged[-1], silent[2900], loud[900] = np.nan, 2, 5
    bad = []
    for name, pcm in (("damaged", damaged), ("silent", silent), ("loud", loud)):
        soundfile.write(tmp_path / f"{name}.wav", pcm, SAMPLE_RATE_HZ, subtype="FLOAT")
        bad.append(listed(tmp_path / f"{name}.wav"))
    order = [clips[3], *bad, clips[4]]
    table = new_table(**timestamps)
    packets = shard_packets(clip_recordings(order), table.spec.decode_rule)
    # Three floats of four bytes: 20 rows a row group, so that much is on the disk by then.
    rows, assembler = assemble(table, order, packets, FailingModel(model), group_bytes=240)
    good = [clips[3].uri, clips[4].uri]
    assert [row["uri"] for row in rows["clips"]] == good
    # 1 + 1000 // 160 and 1 + 3000 // 160 timestamps.
    assert [row["uri"] for row in rows["timestamps"]] == [good[0]] * 7 + [good[1]] * 19
    assert [(row["uri"], row["class"]) for row in rows["errors"]] == [
        (bad[0].uri, "non_finite"), (bad[1].uri, "non_finite_output"),
        (bad[2].uri, "non_finite_output"),
    ]  # fmt: skip
    assert assembler.progress.clips == 5


def test_rows_carry_the_arch_of_their_clips_length(
    tmp_path, new_table, assemble, write_clip, routed, timestamps
):
    # 10, 20 and 30 ms, and one sample more.
    lengths = (330, 320, 321, 640, 641, 960, 961, 3000)
    archs = ("to_20", "to_10", "to_20", "to_20", *["to_30"] * 4)
    clips = [write_clip(tmp_path / f"{i}.wav", n) for i, n in enumerate(lengths)]
    tables = {"tables": ("clips", "windows", "timestamps"), "min_samples": 320}
    table = new_table(**routed | timestamps | tables | {"timestamp_window": 320})
    rows, _ = assemble(table, clips, shard_packets(clip_recordings(clips), table.spec.decode_rule))
    by_uri = {clip.uri: arch for clip, arch in zip(clips, archs, strict=True)}
    assert len(rows["clips"]) == len(lengths)
    for row in rows["clips"] + rows["windows"]:
        assert row["arch"] == by_uri[row["uri"]]
    # Windows of 960 every 320 over 961 and 3000 samples: 1 + 961 // 320 and 1 + 3000 // 320.
    counts = [row["n_windows"] for row in rows["clips"]]
    assert counts == [1, 1, 1, 1, 1, 1, 4, 10]
    assert {row["arch"] for row in rows["timestamps"]} == {"to_10"}


def test_progress_only_grows_and_ends_at_the_total(new_table, assemble, clips, small_pool):
    seen = []
    clips = [*clips, ClipRef("/nowhere.wav", "missing")]
    table = new_table()
    assemble(
        table,
        clips,
        shard_packets(clip_recordings(clips), table.spec.decode_rule),
        on_progress=lambda progress: seen.append(dataclasses.replace(progress)),
    )
    assert [p.clips for p in seen] == sorted(p.clips for p in seen)
    # By length 1, 1, 1 + 321 // 160, 1 + 1000 // 160 and 1 + 3000 // 160 windows.
    total = Counts(6, 1 + 1 + 3 + 7 + 19, sum(LENGTHS) / 32_000, {"missing": 1})
    assert seen[-1] == total


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda packets, i: packets[:i] + packets[i + 1 :], id="lost"),
        pytest.param(lambda packets, i: packets[: i + 1] + packets[i:], id="twice"),
        pytest.param(lambda packets, i: packets[:i], id="cut off"),
    ],
)
def test_a_stream_that_lost_or_repeated_a_packet_is_refused(
    new_table, assemble, clips, change, timestamps
):
    clips = [*clips, ClipRef("/nowhere.wav", "missing")]
    table = new_table(**timestamps | {"tables": ("clips", "windows", "timestamps")})
    packets = list(shard_packets(clip_recordings(clips), table.spec.decode_rule, 1))
    assert len(packets) > len(clips)
    for i in range(len(packets)):
        with pytest.raises(BrokenStreamError):
            assemble(table, clips, change(packets, i))
    assert table.store.names("clips") == table.store.names("windows") == {}


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([], id="nothing"),
        pytest.param([ShardEnd(1, 0)], id="no clip"),
        pytest.param([FAILED, ShardEnd(1, 0)], id="no start"),
        pytest.param([START, START, FAILED, ShardEnd(1, 0)], id="two starts"),
        pytest.param([ClipStart(0, ClipRef("/b.wav", "1-1")), FAILED, ShardEnd(1, 0)], id="other"),
        pytest.param([START, FAILED], id="no end"),
        pytest.param([START, FAILED, ShardEnd(2, 0)], id="wrong end"),
        pytest.param(
            [START, ClipDone(0, 320, 1, 32_000, 1, False), ShardEnd(1, 0)], id="no window"
        ),
        pytest.param(
            [
                START,
                WindowBlock(0, 0, 320, (0,), np.ones(320, np.float32)),
                ClipDone(0, 320, 1, 32_000, 1, False, n_timestamps=3),
                ShardEnd(1, 1, 0),
            ],
            id="no timestamp",
        ),
        pytest.param([START, FAILED, FAILED, ShardEnd(1, 0)], id="two"),
    ],
)
def test_streams_that_do_not_account_for_the_clip_are_refused(new_table, assemble, events):
    with pytest.raises(BrokenStreamError):
        assemble(new_table(), [START.ref], [events])


def test_a_shard_of_no_clips(new_table, assemble):
    rows, assembler = assemble(new_table(), [], [[ShardEnd(0, 0)]])
    assert rows == {"clips": []}
    assert assembler.progress == Counts()

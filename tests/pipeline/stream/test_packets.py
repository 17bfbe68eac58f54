"""`pipeline.stream.packets`: every clip's events, in order, whatever becomes of the clip."""

import dataclasses

import numpy as np
import pytest
import soundfile

import pipeline.stream.windows
from pipeline.audio import SAMPLE_RATE_HZ
from pipeline.decode.quality import QualityMeter
from pipeline.readers.shard_reader import clip_recording, clip_recordings
from pipeline.stream.decode_rule import DecodeRule
from pipeline.stream.events import ClipDone, ClipFailed, ClipStart, ShardEnd, TimestampBlock
from pipeline.stream.packets import shard_packets
from pipeline.stream.windows import WindowBlock, WindowRule
from tests.pipeline.conftest import single_clip_events

RULE = DecodeRule(WindowRule(320, 160), min_samples=32)
PADDING_RULE = DecodeRule(WindowRule(320, 160), min_samples=32, pad_short=True)
# A timestamp every 160 samples, from windows of 640.
TIMESTAMPS = DecodeRule(
    WindowRule(320, 160), min_samples=321, timestamps=WindowRule(640, 160, whole=False)
)


@pytest.fixture
def nan_at_the_end(tmp_path, noise, listed):
    """A clip of which all but the last sample is fine, and long enough to be read in pieces."""
    pcm = noise(140_000)
    pcm[-1] = np.nan
    soundfile.write(tmp_path / "nan.wav", pcm, SAMPLE_RATE_HZ, subtype="FLOAT")
    return listed(tmp_path / "nan.wav")


def test_a_clip_its_windows_and_then_what_became_of_it(tmp_path, noise, write_clip):
    clip = write_clip(tmp_path / "a.wav", 1000)
    start, *blocks, done = single_clip_events(clip_recording(clip), 3, RULE)
    assert start == ClipStart(3, clip)
    windows = [window for block in blocks for window in block.windows()]
    # 1000 samples and half a window at either end, in steps of 160: 1 + 1000 // 160.
    meter = QualityMeter()
    meter.add(noise(1000)[:, None], noise(1000))
    quality = meter.result()
    assert done == ClipDone(3, 1000, 7, SAMPLE_RATE_HZ, 1, decoded_short=False, quality=quality)
    assert {block.clip for block in blocks} == {3}
    assert len(windows) == 7
    assert windows[1].tolist() == noise(1000)[:320].tolist()


def test_rate_channels_and_shortness_are_the_files_own(tmp_path, noise, listed):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(8000).reshape(-1, 2), 8_000, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[: -4 * 10])  # 10 of 4,000 frames
    *_, done = single_clip_events(clip_recording(listed(path)), 0, RULE)
    assert (done.sample_rate_hz, done.channels, done.decoded_short) == (8_000, 2, True)
    assert done.n_samples == 4 * 3_990


def test_a_clip_failing_at_its_end_has_sent_windows_but_is_not_done(nan_at_the_end):
    _, *blocks, failed = single_clip_events(clip_recording(nan_at_the_end), 5, RULE)
    assert blocks
    assert all(isinstance(block, WindowBlock) for block in blocks)
    assert isinstance(failed, ClipFailed)
    assert (failed.clip, failed.stage, failed.error_class) == (5, "decode", "non_finite")


@pytest.mark.parametrize("n_samples", [31, 32])
def test_shorter_than_the_model_takes_is_an_error(tmp_path, write_clip, n_samples):
    _, *blocks, last = single_clip_events(
        clip_recording(write_clip(tmp_path / "a.wav", n_samples)), 0, RULE
    )
    if n_samples == 32:
        assert (len(blocks), last.n_windows) == (1, 1)
    else:
        assert not blocks
        assert (last.stage, last.error_class) == ("window", "too_short")
        assert "31 samples" in last.message
        assert "--pad-short" in last.message


def test_short_clips_are_padded_with_zeros_if_asked_for(tmp_path, noise, write_clip):
    _, block, done = single_clip_events(
        clip_recording(write_clip(tmp_path / "a.wav", 31)), 0, PADDING_RULE
    )
    assert [window.tolist() for window in block.windows()] == [[*noise(31).tolist(), 0]]
    assert (done.n_samples, done.n_windows) == (31, 1)


def test_long_enough_clips_are_not_padded(tmp_path, noise, write_clip):
    recording = clip_recording(write_clip(tmp_path / "a.wav", 33))
    _, block, _ = single_clip_events(recording, 0, PADDING_RULE)
    assert block.pcm.tolist() == noise(33).tolist()


def test_a_shard_ends_with_its_totals(tmp_path, write_clip, nan_at_the_end):
    clips = [write_clip(tmp_path / "a.wav", 320), nan_at_the_end, write_clip(tmp_path / "b.wav", 9)]
    events = [event for packet in shard_packets(clip_recordings(clips), RULE) for event in packet]
    n_windows = sum(len(event.offsets) for event in events if isinstance(event, WindowBlock))
    assert [event.clip for event in events if isinstance(event, ClipDone)] == [0]
    assert [event.clip for event in events if isinstance(event, ClipFailed)] == [1, 2]
    assert [event for event in events if isinstance(event, ShardEnd)] == [ShardEnd(3, n_windows)]
    assert events[-1] == ShardEnd(3, n_windows)


def test_an_empty_shard_is_one_packet():
    assert list(shard_packets(clip_recordings([]), RULE)) == [[ShardEnd(0, 0)]]


@pytest.mark.parametrize("packet_bytes", [1, 5_000, 1 << 20])
def test_packets_change_nothing_but_where_the_stream_is_cut(tmp_path, write_clip, packet_bytes):
    clips = [write_clip(tmp_path / f"{i}.wav", 20_000 + 500 * i) for i in range(3)]
    packets = list(shard_packets(clip_recordings(clips), RULE, packet_bytes))
    events = [event for packet in packets for event in packet]
    (expected,) = shard_packets(clip_recordings(clips), RULE)
    assert [repr(event) for event in events] == [repr(event) for event in expected]
    sizes = [
        [event.pcm.nbytes for event in packet if isinstance(event, WindowBlock)]
        for packet in packets
    ]
    # A packet goes out with the block that fills it.
    assert all(sum(packet[:-1]) < packet_bytes for packet in sizes)
    assert all(sum(packet) >= packet_bytes for packet in sizes[:-1])


def test_timestamps_travel_beside_windows(tmp_path, noise, write_clip, monkeypatch):
    monkeypatch.setattr(pipeline.stream.windows, "BLOCK_SAMPLES", 1000)
    _, *blocks, done = single_clip_events(
        clip_recording(write_clip(tmp_path / "a.wav", 1000)), 3, TIMESTAMPS
    )
    streams = [block for block in blocks if isinstance(block, TimestampBlock)]
    assert {block.clip for block in blocks} == {3}
    # 1 + 1000 // 160 of either.
    assert (done.n_windows, done.n_timestamps) == (7, 7)
    # A window of 640 and two steps fit in 1000 samples.
    assert [(block.first_index, block.n) for block in streams] == [(0, 3), (3, 3), (6, 1)]
    padded = np.pad(noise(1000), 320, mode="reflect")
    for block in streams:
        start = 160 * block.first_index
        assert block.pcm.tolist() == padded[start : start + 160 * (block.n - 1) + 640].tolist()


@pytest.mark.parametrize("n_samples", [320, 321, 640])
def test_clips_shorter_than_a_timestamps_window(tmp_path, write_clip, n_samples):
    _, *blocks, last = single_clip_events(
        clip_recording(write_clip(tmp_path / "a.wav", n_samples)), 0, TIMESTAMPS
    )
    if n_samples == 320:
        assert not any(isinstance(block, TimestampBlock) for block in blocks)
        assert (last.error_class, "at least 321" in last.message) == ("too_short", True)
    else:
        assert last.n_timestamps == 1 + n_samples // 160


def test_short_clips_are_padded_for_their_timestamps_too(tmp_path, noise, write_clip):
    rule = dataclasses.replace(TIMESTAMPS, pad_short=True)
    _, *blocks, done = single_clip_events(
        clip_recording(write_clip(tmp_path / "a.wav", 31)), 0, rule
    )
    (stream,) = [block for block in blocks if isinstance(block, TimestampBlock)]
    # 321 samples have three timestamps; the clip's own length stays on record.
    assert (done.n_samples, done.n_timestamps, stream.n) == (31, 3, 3)
    padded = np.pad(np.pad(noise(31), (0, 290)), 320, mode="reflect")
    assert stream.pcm.tolist() == padded[: 2 * 160 + 640].tolist()


def test_timestamps_count_in_packets_and_totals(tmp_path, write_clip):
    clips = [write_clip(tmp_path / f"{i}.wav", 20_000 + 500 * i) for i in range(3)]
    packets = list(shard_packets(clip_recordings(clips), TIMESTAMPS, 5_000))
    (expected,) = shard_packets(clip_recordings(clips), TIMESTAMPS)
    assert [repr(event) for packet in packets for event in packet] == list(map(repr, expected))
    assert len(packets) > len(clips)
    # 1 + 20000 // 160, 1 + 20500 // 160 and 1 + 21000 // 160 of either.
    assert expected[-1] == ShardEnd(3, 126 + 129 + 132, 126 + 129 + 132)

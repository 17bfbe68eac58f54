"""`pipeline.packets`: every clip's events, in order, whatever becomes of the clip."""

import numpy as np
import pytest
import soundfile

from pipeline.clips import SAMPLE_RATE_HZ
from pipeline.packets import (
    ClipDone,
    ClipFailed,
    DecodeRule,
    ShardEnd,
    clip_events,
    shard_packets,
)
from pipeline.windows import WindowBlock, WindowRule

RULE = DecodeRule(WindowRule(320, 160), min_samples=32)
PADDING_RULE = DecodeRule(WindowRule(320, 160), min_samples=32, pad_short=True)


@pytest.fixture
def nan_at_the_end(tmp_path, noise, listed):
    """A clip of which all but the last sample is fine, and long enough to be read in pieces."""
    pcm = noise(140_000)
    pcm[-1] = np.nan
    soundfile.write(tmp_path / "nan.wav", pcm, SAMPLE_RATE_HZ, subtype="FLOAT")
    return listed(tmp_path / "nan.wav")


def test_windows_come_first_then_what_became_of_the_clip(tmp_path, noise, write_clip):
    *blocks, done = clip_events(write_clip(tmp_path / "a.wav", 1000), 3, RULE)
    windows = [window for block in blocks for window in block.windows()]
    # 1000 samples and half a window at either end, in steps of 160: 1 + 1000 // 160.
    assert done == ClipDone(3, 1000, 7, SAMPLE_RATE_HZ, 1, decoded_short=False)
    assert {block.clip for block in blocks} == {3}
    assert len(windows) == 7
    assert windows[1].tolist() == noise(1000)[:320].tolist()


def test_rate_channels_and_shortness_are_the_files_own(tmp_path, noise, listed):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(8000).reshape(-1, 2), 8_000, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[: -4 * 10])  # 10 of 4,000 frames
    *_, done = clip_events(listed(path), 0, RULE)
    assert (done.sample_rate_hz, done.channels, done.decoded_short) == (8_000, 2, True)
    assert done.n_samples == 4 * 3_990


def test_a_clip_failing_at_its_end_has_sent_windows_but_is_not_done(nan_at_the_end):
    *blocks, failed = clip_events(nan_at_the_end, 5, RULE)
    assert blocks
    assert all(isinstance(block, WindowBlock) for block in blocks)
    assert isinstance(failed, ClipFailed)
    assert (failed.clip, failed.stage, failed.error_class) == (5, "decode", "non_finite")


@pytest.mark.parametrize("n_samples", [31, 32])
def test_shorter_than_the_model_takes_is_an_error(tmp_path, write_clip, n_samples):
    *blocks, last = clip_events(write_clip(tmp_path / "a.wav", n_samples), 0, RULE)
    if n_samples == 32:
        assert (len(blocks), last.n_windows) == (1, 1)
    else:
        assert not blocks
        assert (last.stage, last.error_class) == ("window", "too_short")
        assert "31 samples" in last.message
        assert "--pad-short" in last.message


def test_short_clips_are_padded_with_zeros_if_asked_for(tmp_path, noise, write_clip):
    block, done = clip_events(write_clip(tmp_path / "a.wav", 31), 0, PADDING_RULE)
    assert [window.tolist() for window in block.windows()] == [[*noise(31).tolist(), 0]]
    assert (done.n_samples, done.n_windows) == (31, 1)


def test_long_enough_clips_are_not_padded(tmp_path, noise, write_clip):
    block, _ = clip_events(write_clip(tmp_path / "a.wav", 33), 0, PADDING_RULE)
    assert block.pcm.tolist() == noise(33).tolist()


def test_a_shard_ends_with_its_totals(tmp_path, write_clip, nan_at_the_end):
    clips = [write_clip(tmp_path / "a.wav", 320), nan_at_the_end, write_clip(tmp_path / "b.wav", 9)]
    events = [event for packet in shard_packets(clips, RULE) for event in packet]
    n_windows = sum(len(event.offsets) for event in events if isinstance(event, WindowBlock))
    assert [event.clip for event in events if isinstance(event, ClipDone)] == [0]
    assert [event.clip for event in events if isinstance(event, ClipFailed)] == [1, 2]
    assert [event for event in events if isinstance(event, ShardEnd)] == [ShardEnd(3, n_windows)]
    assert events[-1] == ShardEnd(3, n_windows)


def test_an_empty_shard_is_one_packet():
    assert list(shard_packets([], RULE)) == [[ShardEnd(0, 0)]]


@pytest.mark.parametrize("packet_bytes", [1, 5_000, 1 << 20])
def test_packets_change_nothing_but_where_the_stream_is_cut(tmp_path, write_clip, packet_bytes):
    clips = [write_clip(tmp_path / f"{i}.wav", 20_000 + 500 * i) for i in range(3)]
    packets = list(shard_packets(clips, RULE, packet_bytes))
    events = [event for packet in packets for event in packet]
    (expected,) = shard_packets(clips, RULE)
    assert [repr(event) for event in events] == [repr(event) for event in expected]
    sizes = [
        [event.pcm.nbytes for event in packet if isinstance(event, WindowBlock)]
        for packet in packets
    ]
    # A packet goes out with the block that fills it.
    assert all(sum(packet[:-1]) < packet_bytes for packet in sizes)
    assert all(sum(packet) >= packet_bytes for packet in sizes[:-1])

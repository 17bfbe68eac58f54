"""`pipeline.stream.windows`: a stream cut in pieces against the whole clip in one array."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipeline.stream.windows
from pipeline.errors import UsageError
from pipeline.stream.windows import PADDINGS, WindowCutter, WindowRule

rules = st.builds(
    WindowRule,
    window=st.integers(1, 24),
    hop=st.integers(1, 40),
    padding=st.sampled_from(PADDINGS),
)


@st.composite
def rules_and_lengths(draw):
    """Rules with clip lengths on both sides of the window, the edges more often than not."""
    rule = draw(rules)
    edges = st.sampled_from((1, rule.window, rule.window + 1, rule.window + rule.hop))
    return rule, draw(st.one_of(edges, st.integers(1, 400)))


def ramp(n_samples):
    """Every sample another, so that a window shows where it was cut."""
    return np.arange(1, n_samples + 1, dtype=np.float32)


def whole_clip_windows(rule, pcm):
    if len(pcm) <= rule.window:
        return [pcm]
    if rule.padding == "hear":
        pcm = np.pad(pcm, rule.window // 2, mode="reflect")
    last = len(pcm) - rule.window
    starts = list(range(0, last + 1, rule.hop))
    if rule.padding == "none" and starts[-1] < last:
        starts.append(last)
    return [pcm[start : start + rule.window] for start in starts]


def reflected_windows(pcm, window, hop):
    """HEAR's timestamps: every clip is reflected, however short, and cut all along."""
    padded = np.pad(pcm, window // 2, mode="reflect")
    return [padded[i * hop : i * hop + window] for i in range(len(pcm) // hop + 1)]


def pieces(pcm, sizes):
    start = 0
    for size in sizes:
        yield pcm[start : start + size]
        start += size
    yield pcm[start:]


def cut(rule, chunks, full_blocks=False):
    cutter = WindowCutter(rule, 7, full_blocks)
    blocks = [block for chunk in chunks for block in cutter.push(chunk)]
    return cutter, blocks + list(cutter.finish())


@given(rules_and_lengths(), st.lists(st.integers(0, 90)))
def test_pieces_give_the_windows_of_the_whole_clip(rule_and_length, sizes):
    rule, n_samples = rule_and_length
    pcm = ramp(n_samples)
    expected = whole_clip_windows(rule, pcm)

    cutter, blocks = cut(rule, pieces(pcm, sizes))

    found = [window for block in blocks for window in block.windows()]
    assert [window.tolist() for window in found] == [window.tolist() for window in expected]
    assert rule.count(n_samples) == cutter.n_windows == len(expected)
    assert cutter.n_samples == n_samples


@given(rules_and_lengths(), st.lists(st.integers(0, 90)))
def test_blocks_are_contiguous_and_of_their_clip(rule_and_length, sizes):
    rule, n_samples = rule_and_length
    _, blocks = cut(rule, pieces(ramp(n_samples), sizes))
    next_index = 0
    for block in blocks:
        assert (block.clip, block.first_index) == (7, next_index)
        assert block.length == min(rule.window, n_samples)
        next_index += len(block.offsets)
    assert next_index == rule.count(n_samples)


@given(rules_and_lengths())
def test_spans_are_where_windows_meet_the_clip(rule_and_length):
    rule, n_samples = rule_and_length
    # The ramp holds its own positions, from 1 on, and the reflection holds other ones.
    where = np.arange(n_samples, dtype=np.float32)
    for index, window in enumerate(whole_clip_windows(rule, where)):
        start, end = rule.span(index, n_samples)
        head = start - rule.start(index, n_samples)
        assert 0 <= start < end <= n_samples
        assert window[head : head + end - start].tolist() == list(range(start, end))


@given(rules_and_lengths())
def test_without_padding_the_first_window_is_at_0_and_the_last_is_flush(rule_and_length):
    rule, n_samples = rule_and_length
    rule = WindowRule(rule.window, rule.hop, "none")
    assert rule.span(0, n_samples)[0] == 0
    assert rule.span(rule.count(n_samples) - 1, n_samples)[1] == n_samples


@st.composite
def timestamp_rules_and_lengths(draw):
    """Even windows with clip lengths from the shortest that can be reflected on."""
    window = 2 * draw(st.integers(1, 12))
    rule = WindowRule(window, draw(st.integers(1, 40)), whole=False)
    edges = st.sampled_from((window // 2 + 1, window, window + 1))
    return rule, draw(st.one_of(edges, st.integers(window // 2 + 1, 400)))


@given(timestamp_rules_and_lengths(), st.lists(st.integers(0, 90)), st.booleans())
def test_where_no_clip_stays_whole_all_are_reflected_and_cut(rule_and_length, sizes, full_blocks):
    rule, n_samples = rule_and_length
    pcm = ramp(n_samples)
    expected = reflected_windows(pcm, rule.window, rule.hop)

    cutter, blocks = cut(rule, pieces(pcm, sizes), full_blocks)

    found = [window for block in blocks for window in block.windows()]
    assert [window.tolist() for window in found] == [window.tolist() for window in expected]
    assert rule.count(n_samples) == cutter.n_windows == len(expected)
    where = np.arange(n_samples, dtype=np.float32)
    for index, window in enumerate(reflected_windows(where, rule.window, rule.hop)):
        start, end = rule.span(index, n_samples)
        head = start - rule.start(index, n_samples)
        assert window[head : head + end - start].tolist() == list(range(start, end))


@pytest.mark.parametrize("n_samples", [0, 1, 4])
def test_a_clip_too_short_to_be_reflected_has_no_windows(n_samples):
    rule = WindowRule(8, 2, whole=False)
    cutter, blocks = cut(rule, [ramp(n_samples)])
    assert not blocks
    assert rule.count(n_samples) == cutter.n_windows == 0


@pytest.mark.parametrize("full_blocks", [False, True])
def test_blocks_are_bounded_by_their_samples(monkeypatch, full_blocks):
    monkeypatch.setattr(pipeline.stream.windows, "BLOCK_SAMPLES", 100)
    # 20 samples and eight steps of 10 are 100; a window longer than that goes alone.
    for window, most in ((20, 9), (300, 1)):
        _, blocks = cut(WindowRule(window, 10), pieces(ramp(2000), [50] * 39), full_blocks)
        if full_blocks:
            assert {len(block.offsets) for block in blocks[:-1]} == {most}
        assert max(len(block.offsets) for block in blocks) <= most
        assert max(len(block.pcm) for block in blocks) <= max(100, window)


@pytest.mark.parametrize("n_samples", [999_999, 1_000_000, 1_000_001])
def test_hear_windows_are_centred_on_multiples_of_the_hop(n_samples):
    rule = WindowRule(320_000, 160_000, "hear")
    for index in range(rule.count(n_samples)):
        assert rule.start(index, n_samples) + 160_000 == index * 160_000


@pytest.mark.parametrize("padding", PADDINGS)
def test_an_empty_clip_has_no_windows(padding):
    cutter, blocks = cut(WindowRule(8, 4, padding), [np.zeros(0, np.float32)])
    assert not blocks
    assert cutter.n_windows == 0


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("window", "hop"), [(2000, 500), (2000, 2000), (500, 3000)])
def test_the_cutter_keeps_no_more_than_window_hop_and_chunk(padding, window, hop):
    chunk, n_chunks = 1000, 300
    source = ramp(chunk)
    cutter = WindowCutter(WindowRule(window, hop, padding))
    most = 0
    tracemalloc.start()
    try:
        for _ in range(n_chunks):
            for _block in cutter.push(source):
                pass
            most = max(most, tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # Twice: for the windows to come, and for what the end of the clip may need; 64 kB of Python
    # objects. The clip itself is 300,000 samples, 1.2 MB.
    assert most < 2 * 4 * (window + hop + chunk) + 65_536 < 4 * chunk * n_chunks / 5


def test_blocks_do_not_hold_the_stream():
    cutter = WindowCutter(WindowRule(4, 2, "none"))
    chunk = ramp(12)
    blocks = list(cutter.push(chunk))
    chunk[:] = 0
    # 12 samples hold (12 - 4) / 2 + 1 windows.
    assert [w.tolist()[0] for block in blocks for w in block.windows()] == [1, 3, 5, 7, 9]


@pytest.mark.parametrize(
    ("window", "hop", "padding", "named"),
    [
        (0, 1, "hear", "got 0 and 1"),
        (-5, 1, "none", "got -5 and 1"),
        (10, 0, "hear", "got 10 and 0"),
        (10, 5, "reflect", "'reflect'"),
        (10, 5, "", "''"),
    ],
)
def test_bad_rules_are_refused_with_the_value(window, hop, padding, named):
    with pytest.raises(UsageError, match=named):
        WindowRule(window, hop, padding)

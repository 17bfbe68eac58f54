"""Tests of a pack's frames and tokens, compared with those of each window alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.archs import ARCHS, PATCH_SIZE
from models.hear.factory import front_end
from models.inference.staging import stage
from models.passt.pack_layout import WindowPack

CPU = torch.device("cpu")
# Hops of 320, 160 and 100 samples, strides of 10 and 16 frames
SPECS = [ARCHS[name] for name in ("passt_s_p16_s16_128_ap468", "stfthop160", "stfthop100")]
LENGTHS = st.lists(st.integers(4_801, 40_000), min_size=1, max_size=5)


def sort_by_patches(lengths, spec):
    return sorted(lengths, key=spec.n_time_patches, reverse=True)


@settings(deadline=None, max_examples=30)
@given(LENGTHS, st.sampled_from(SPECS))
def test_frames_equal_those_of_each_window_alone(lengths, spec):
    lengths = sort_by_patches(lengths, spec)
    windows = [0.1 * torch.randn(n) for n in lengths]
    mel, pack = front_end(spec), WindowPack(lengths, spec, CPU)
    staged = stage(windows, CPU)
    frames = mel.frames(staged.samples, pack.stream_index(staged.offsets))
    first = 0
    for window in windows:
        n_time = spec.n_time_patches(len(window))
        begins = pack.patch_frames[first : first + n_time]
        assert pack.patch_times[first : first + n_time].tolist() == list(range(n_time))
        alone = mel(window[None])[0].T
        for patch, begin in enumerate(begins):
            expected = alone[patch * spec.stride : patch * spec.stride + PATCH_SIZE]
            found = frames[begin : begin + PATCH_SIZE]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
        first += n_time
    assert first == len(pack.patch_frames)


@given(LENGTHS, st.sampled_from(SPECS))
def test_every_token_is_one_patch_or_special_token(lengths, spec):
    lengths = sort_by_patches(lengths, spec)
    pack = WindowPack(lengths, spec, CPU)
    counts = [spec.n_tokens(n) for n in lengths]
    tokens = torch.cat((pack.patch_tokens, pack.special_tokens)).sort().values
    assert tokens.tolist() == list(range(sum(counts)))
    assert pack.n_tokens == sum(counts)
    starts = pack.sequences.starts
    assert starts.dtype == torch.int32
    assert starts.diff().tolist() == counts
    # Each window starts with its special tokens.
    assert pack.special_tokens.view(-1, 2).tolist() == [[int(s), int(s) + 1] for s in starts[:-1]]
    assert [n for group in pack.sequences.groups for n in [group.n_tokens] * group.n_sequences] == (
        counts
    )


@settings(deadline=None)
@given(st.integers(4_801, 40_000), st.integers(1, 4), st.sampled_from(SPECS))
def test_equal_and_mixed_lengths_give_the_same_stream_index(n_samples, n_windows, spec):
    offsets = torch.arange(n_windows, dtype=torch.int32) * 77
    uniform = WindowPack([n_samples] * n_windows, spec, CPU).stream_index(offsets)
    # One more, shorter window makes the pack use the general code for mixed lengths.
    mixed = WindowPack([*[n_samples] * n_windows, 4_801], spec, CPU)
    general = mixed.stream_index(torch.cat((offsets, offsets[:1])))
    if n_samples != 4_801:
        assert torch.equal(general[: len(uniform)], uniform)
    assert uniform.dtype == general.dtype == torch.int32


@given(LENGTHS, st.sampled_from(SPECS))
def test_stream_index_stays_within_the_windows(lengths, spec):
    lengths = sort_by_patches(lengths, spec)
    pack = WindowPack(lengths, spec, CPU)
    offsets = torch.tensor([1000 * row for row in range(len(lengths))], dtype=torch.int32)
    index = pack.stream_index(offsets)
    assert index.min() >= 0
    assert index.max() <= max(
        offset + n - 2 for offset, n in zip(offsets.tolist(), lengths, strict=True)
    )


def test_shortest_window_is_reflected_within_itself():
    for spec in SPECS:
        n = spec.min_samples
        index = WindowPack([n], spec, CPU).stream_index(torch.zeros(1, dtype=torch.int32))
        assert index.min() >= 0
        assert index.max() <= n - 2


def test_autocast_does_not_reach_the_frames(small_spec, noise):
    window = torch.from_numpy(noise(20_000))
    mel, pack = front_end(small_spec), WindowPack([20_000], small_spec, CPU)
    index = pack.stream_index(torch.zeros(1, dtype=torch.int32))
    expected = mel.frames(window, index)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mel.frames(window, index), expected)


@pytest.mark.parametrize("n_windows", [1, 3])
def test_special_and_patch_tokens_of_equal_windows(small_spec, n_windows):
    pack = WindowPack([9_600] * n_windows, small_spec, CPU)
    assert len(pack.sequences.groups) == 1
    assert len(pack.special_tokens) == 2 * n_windows

"""Tests of staging: shared samples are copied once, and every window is found in them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.inference.staging import deduplicate, stage
from models.passt.pack_layout import small_tensor

CPU = torch.device("cpu")
CUTS = st.lists(st.tuples(st.integers(0, 90), st.integers(1, 40)), min_size=1, max_size=12)


def rebuild_windows(windows, pieces, offsets):
    samples = torch.cat(pieces)
    return [
        samples[offset : offset + len(window)]
        for window, offset in zip(windows, offsets, strict=True)
    ]


@given(CUTS)
def test_windows_of_one_clip_are_found_in_the_shared_samples(cuts):
    clip = torch.arange(130.0)
    windows = [clip[begin : begin + n] for begin, n in cuts]
    pieces, offsets = deduplicate(windows)
    for window, found in zip(windows, rebuild_windows(windows, pieces, offsets), strict=True):
        assert torch.equal(window, found)
    covered = {sample for begin, n in cuts for sample in range(begin, begin + n)}
    assert sum(map(len, pieces)) == len(covered)


@given(CUTS, CUTS)
def test_clips_do_not_mix(first, second):
    clips = torch.arange(130.0), -torch.arange(130.0)
    windows = [
        clip[begin : begin + n]
        for clip, cuts in zip(clips, (first, second), strict=True)
        for begin, n in cuts
    ]
    windows = windows[::2] + windows[1::2]
    for window, found in zip(windows, rebuild_windows(windows, *deduplicate(windows)), strict=True):
        assert torch.equal(window, found)


def test_overlapping_windows_of_an_array_are_copied_once():
    clip = np.arange(100, dtype=np.float32)
    windows = [torch.from_numpy(clip[begin : begin + 40]) for begin in range(0, 61, 10)]
    staged = stage(windows, CPU)
    assert len(staged.samples) == 100
    assert staged.offsets.tolist() == list(range(0, 61, 10))


def test_single_window_is_not_copied():
    window = torch.arange(10.0)
    staged = stage([window], CPU)
    assert staged.samples.data_ptr() == window.data_ptr()
    assert staged.offsets.tolist() == [0]


def test_repeated_window_is_copied_once():
    window = torch.arange(10.0)
    staged = stage([window, window], CPU)
    assert (len(staged.samples), staged.offsets.tolist()) == (10, [0, 0])


def test_offsets_keep_the_order_of_the_windows():
    clip = torch.arange(100.0)
    staged = stage([clip[50:60], torch.zeros(3), clip[:20], clip[15:30]], CPU)
    for offset, expected in zip(staged.offsets.tolist(), (50.0, 0.0, 0.0, 15.0), strict=True):
        assert staged.samples[offset] == expected


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_windows_overlapping_by_fractions_of_a_sample_are_copied_separately(shift):
    raw = np.arange(200, dtype=np.uint8)
    aligned = raw[:160].view(np.float32)
    misaligned = raw[shift : shift + 80].view(np.float32)
    windows = [torch.from_numpy(aligned), torch.from_numpy(misaligned)]
    for window, found in zip(windows, rebuild_windows(windows, *deduplicate(windows)), strict=True):
        assert torch.equal(window, found)


def test_small_tensor_has_the_given_dtype():
    assert small_tensor([[1, 2], [3, 4]], torch.int32, CPU).dtype == torch.int32

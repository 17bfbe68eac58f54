"""Tests of timestamp windows, compared with a plain unfold of the reflected clip."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812

from models.errors import WindowError
from models.inference.timestamp_levels import Level
from models.inference.timestamp_windows import embed_timestamp_windows, padded_blocks

N_SOUNDS = 2


def numbered_clip(n_samples):
    """Return samples that are all different."""
    return torch.arange(N_SOUNDS * n_samples, dtype=torch.float32).view(N_SOUNDS, -1)


def windows_of(samples, window, hop):
    """Return the windows of all timestamps as in the reference, (sounds, timestamps, window)."""
    padded = F.pad(samples, (window // 2, window // 2), mode="reflect")
    return padded.unfold(1, window, hop)


def cut(samples, sizes):
    """Cut samples into pieces whose sizes repeat `sizes`."""
    sizes = [min(size, samples.shape[1]) for size in sizes]
    n_rounds = samples.shape[1] // sum(sizes) + 1
    ends = torch.tensor(sizes * n_rounds).cumsum(0)
    return samples.tensor_split(ends[ends < samples.shape[1]], dim=1)


def assert_windows(pieces, samples, window, hop, block_timestamps):
    expected = windows_of(samples, window, hop)
    blocks = list(padded_blocks(pieces, window, hop, block_timestamps))
    parts = [block.unfold(1, window, hop) for block in blocks]
    torch.testing.assert_close(torch.cat(parts, dim=1), expected, atol=0, rtol=0)
    assert [part.shape[1] for part in parts[:-1]] == (len(parts) - 1) * [block_timestamps]
    assert parts[-1].shape[1] <= block_timestamps
    # A block is no larger than its timestamps need.
    assert max(block.shape[1] for block in blocks) <= (block_timestamps - 1) * hop + window


@settings(deadline=None, max_examples=300)
@given(
    st.integers(1, 400),
    st.integers(1, 60).map(lambda half: 2 * half),
    st.integers(1, 150),
    st.integers(1, 20),
    st.lists(st.integers(1, 90), min_size=1, max_size=5),
)
# With a hop of several windows, the step to the next block is longer than a block.
@example(400, 10, 100, 2, [1])
@example(400, 10, 100, 2, [400])
def test_blocks_contain_all_windows_of_the_clip(n_samples, window, hop, block_timestamps, sizes):
    samples = numbered_clip(n_samples + window // 2)
    assert_windows(cut(samples, sizes), samples, window, hop, block_timestamps)


def test_empty_pieces_change_nothing():
    samples = numbered_clip(300)
    pieces = [samples[:, :0], samples[:, :7], samples[:, :0], samples[:, 7:], samples[:, :0]]
    assert_windows(pieces, samples, 20, 10, 3)


def test_blocks_are_yielded_before_the_last_piece():
    """The buffer holds a block, the samples to reflect and the last piece, but not the clip."""
    window, hop, block_timestamps, piece = 20, 10, 4, 30
    n_read = 0

    def pieces():
        nonlocal n_read
        for start in range(0, 3000, piece):
            n_read = start + piece
            yield numbered_clip(3000)[:, start : start + piece]

    n_timestamps = 0
    for block in padded_blocks(pieces(), window, hop, block_timestamps):
        n_buffered = n_read - n_timestamps * hop
        assert n_buffered <= (block_timestamps - 1) * hop + window + window // 2 + 1 + piece
        n_timestamps += (block.shape[1] - window) // hop + 1
    assert n_timestamps == 3000 // hop + 1


@pytest.mark.parametrize("n_samples", [0, 1, 10])
@pytest.mark.parametrize("size", [1, 100])
def test_clip_too_short_to_reflect_is_refused(n_samples, size):
    message = rf"clip of {n_samples} samples .* windows of 20: .* at least 11 samples; pad"
    with pytest.raises(WindowError, match=message):
        list(padded_blocks(numbered_clip(n_samples).split(size, dim=1), 20, 10, 4))


def test_no_pieces_are_refused():
    with pytest.raises(WindowError, match="clip of 0 samples"):
        list(padded_blocks([], 20, 10, 4))


@pytest.mark.parametrize("first", [8, 9])
@pytest.mark.parametrize("factor", [4, 5])
@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_levels_have_the_same_centre_as_in_the_reference(first, factor, batch):
    """The reference reflects the clip for each level separately, by half of its window."""
    samples, hop = numbered_clip(200), 7
    levels = (Level("passt", first), Level("passt", factor * first), Level("mel", 6))
    longest = factor * first
    stream = F.pad(samples, (longest // 2, longest // 2), mode="reflect")
    largest = 0

    def identity(windows):
        nonlocal largest
        largest = max(largest, len(windows))
        return windows

    embeddings = embed_timestamp_windows(stream, levels, identity, identity, lambda _: batch, hop)
    n_timestamps = embeddings.shape[1]
    expected = [windows_of(samples, level.window, hop)[:, :n_timestamps] for level in levels]
    assert n_timestamps == 200 // hop + 1
    torch.testing.assert_close(embeddings, torch.cat(expected, dim=2), atol=0, rtol=0)
    assert largest <= batch

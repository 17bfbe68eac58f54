"""Clips that arrive in pieces, against a plain unfold of the reflected clip."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812

from models.errors import WindowError
from models.inference.timestamp_levels import Level
from models.inference.timestamp_windows import embed_timestamp_windows, padded_blocks

N_SOUNDS = 2


def clip(n_samples):
    """Samples that tell where they stand."""
    return torch.arange(N_SOUNDS * n_samples, dtype=torch.float32).view(N_SOUNDS, -1)


def moments_of(samples, window, hop):
    """As the reference has them: (n_sounds, n_moments, window)."""
    padded = F.pad(samples, (window // 2, window // 2), mode="reflect")
    return padded.unfold(1, window, hop)


def cut(samples, sizes):
    """Pieces of these sizes over and over."""
    sizes = [min(size, samples.shape[1]) for size in sizes]
    n_rounds = samples.shape[1] // sum(sizes) + 1
    ends = torch.tensor(sizes * n_rounds).cumsum(0)
    return samples.tensor_split(ends[ends < samples.shape[1]], dim=1)


def assert_moments(pieces, samples, window, hop, block_moments):
    expected = moments_of(samples, window, hop)
    blocks = list(padded_blocks(pieces, window, hop, block_moments))
    parts = [block.unfold(1, window, hop) for block in blocks]
    torch.testing.assert_close(torch.cat(parts, dim=1), expected, atol=0, rtol=0)
    assert [part.shape[1] for part in parts[:-1]] == (len(parts) - 1) * [block_moments]
    assert parts[-1].shape[1] <= block_moments
    # A block is no larger than its moments need.
    assert max(block.shape[1] for block in blocks) <= (block_moments - 1) * hop + window


@settings(deadline=None, max_examples=300)
@given(
    st.integers(1, 400),
    st.integers(1, 60).map(lambda half: 2 * half),
    st.integers(1, 150),
    st.integers(1, 20),
    st.lists(st.integers(1, 90), min_size=1, max_size=5),
)
# A hop of several windows: the step over a block is longer than the block.
@example(400, 10, 100, 2, [1])
@example(400, 10, 100, 2, [400])
def test_blocks_hold_the_moments_of_the_whole(n_samples, window, hop, block_moments, sizes):
    samples = clip(n_samples + window // 2)
    assert_moments(cut(samples, sizes), samples, window, hop, block_moments)


def test_empty_pieces_change_nothing():
    samples = clip(300)
    pieces = [samples[:, :0], samples[:, :7], samples[:, :0], samples[:, 7:], samples[:, :0]]
    assert_moments(pieces, samples, 20, 10, 3)


def test_blocks_come_before_the_last_piece():
    """What is held is a block, the samples to reflect and the last piece, not the clip."""
    window, hop, block_moments, piece = 20, 10, 4, 30
    taken = 0

    def pieces():
        nonlocal taken
        for start in range(0, 3000, piece):
            taken = start + piece
            yield clip(3000)[:, start : start + piece]

    moments = 0
    for block in padded_blocks(pieces(), window, hop, block_moments):
        held = taken - moments * hop
        assert held <= (block_moments - 1) * hop + window + window // 2 + 1 + piece
        moments += (block.shape[1] - window) // hop + 1
    assert moments == 3000 // hop + 1


@pytest.mark.parametrize("n_samples", [0, 1, 10])
@pytest.mark.parametrize("size", [1, 100])
def test_what_cannot_be_reflected_is_refused(n_samples, size):
    message = rf"clip of {n_samples} samples .* windows of 20: .* at least 11; pad"
    with pytest.raises(WindowError, match=message):
        list(padded_blocks(clip(n_samples).split(size, dim=1), 20, 10, 4))


def test_no_pieces_are_refused():
    with pytest.raises(WindowError, match="clip of 0 samples"):
        list(padded_blocks([], 20, 10, 4))


@pytest.mark.parametrize("first", [8, 9])
@pytest.mark.parametrize("factor", [4, 5])
@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_levels_are_centred_as_the_reference_pads_them(first, factor, batch):
    """Each level of the reference has a reflection of its own, by half of its window."""
    samples, hop = clip(200), 7
    levels = (Level("passt", first), Level("passt", factor * first), Level("mel", 6))
    longest = factor * first
    stream = F.pad(samples, (longest // 2, longest // 2), mode="reflect")
    largest = 0

    def identity(windows):
        nonlocal largest
        largest = max(largest, len(windows))
        return windows

    embeddings = embed_timestamp_windows(stream, levels, identity, identity, lambda _: batch, hop)
    n_moments = embeddings.shape[1]
    expected = [moments_of(samples, level.window, hop)[:, :n_moments] for level in levels]
    assert n_moments == 200 // hop + 1
    torch.testing.assert_close(embeddings, torch.cat(expected, dim=2), atol=0, rtol=0)
    assert largest <= batch

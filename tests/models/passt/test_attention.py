"""Tests of packed attention, compared with plain attention of each sequence."""

import math
from itertools import accumulate

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.passt.attention import Group, Sequences, attend, first_tokens, split_groups

N_HEADS, HEAD_DIM = 3, 4
DIM = N_HEADS * HEAD_DIM


def plain_attention(qkv):
    """Compute softmax attention of one sequence (tokens, 3 x dim), head by head."""
    out = []
    for head in range(N_HEADS):
        rows = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
        query, key, value = (part[:, rows] for part in qkv.split(DIM, dim=1))
        out.append((query @ key.T / math.sqrt(HEAD_DIM)).softmax(dim=1) @ value)
    return torch.cat(out, dim=1)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(2, 9)), min_size=1, max_size=4),
    st.sampled_from([0, 1, 2]),
)
def test_each_sequence_attends_only_to_itself(shapes, n_queries):
    groups = [Group(*shape) for shape in shapes]
    n_tokens = sum(group.n_sequences * group.n_tokens for group in groups)
    qkv = torch.randn(n_tokens, 3 * DIM, generator=torch.Generator().manual_seed(n_tokens))
    lengths = [group.n_tokens for group in groups for _ in range(group.n_sequences)]
    expected = [plain_attention(part)[: n_queries or None] for part in qkv.split(lengths)]
    sequences = Sequences(tuple(groups), torch.tensor([0, *accumulate(lengths)], dtype=torch.int32))
    mixed = attend(qkv, sequences, N_HEADS, n_queries)
    torch.testing.assert_close(mixed, torch.cat(expected), atol=1e-5, rtol=0)


def test_groups_are_views_of_the_pack():
    pack = torch.arange(22.0).view(11, 2)
    groups = (Group(2, 4), Group(1, 3))
    (first, _), (second, _) = split_groups(pack, groups)
    assert torch.equal(torch.cat((first, second)), pack)
    assert first.data_ptr() == pack.data_ptr()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_attention_keeps_the_dtype(dtype):
    mixed = attend(
        torch.randn(10, 3 * DIM).to(dtype), Sequences((Group(2, 3), Group(1, 4))), N_HEADS, 0
    )
    assert mixed.dtype == dtype
    assert mixed.shape == (10, DIM)


@pytest.mark.parametrize(
    ("groups", "starts"), [((Group(2, 3),), None), ((Group(1, 4), Group(1, 2)), [0, 4, 6])]
)
def test_first_tokens_are_taken_from_each_sequence(groups, starts):
    pack = torch.arange(12.0).view(6, 2)
    starts_tensor = None if starts is None else torch.tensor(starts, dtype=torch.int32)
    first = first_tokens(pack, Sequences(groups, starts_tensor), 2)
    rows = [0, 1, 3, 4] if starts is None else [0, 1, 4, 5]
    assert torch.equal(first, pack[rows])

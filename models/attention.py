"""Self-attention over a pack of token sequences, each of which sees only itself.

A pack is one (tokens, dim) matrix: sequences of mixed lengths lie one after another, those of equal
length adjacent. Everything but attention works on the matrix as a whole, so the cost is that of
the tokens there are; no padding, no mask. Attention takes each run of equal lengths as one batch;
a GPU in half precision takes a pack of several lengths through the variable-length kernel.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)


class Group(NamedTuple):
    """Adjacent sequences of one length."""

    n_sequences: int
    n_tokens: int


class Sequences(NamedTuple):
    """What the rows of a pack are.

    Attributes:
        groups: in the order of the rows.
        starts: int32 (n_sequences + 1,), the first row of each and the end, where the rows are; of
            a pack of one group it is not needed.
    """

    groups: tuple[Group, ...]
    starts: Tensor | None = None


def attend(qkv: Tensor, sequences: Sequences, n_heads: int, n_queries: int) -> Tensor:
    """Attention of every sequence of a pack to itself.

    Args:
        qkv: (tokens, 3 x dim).
        sequences: what the rows of `qkv` are.
        n_heads: attention heads.
        n_queries: how many of each sequence's first tokens ask; 0 for all.

    Returns:
        (queries, dim), sequence by sequence.
    """
    if len(sequences.groups) > 1 and _has_varlen_kernel(qkv):
        return _attend_varlen(qkv, sequences, n_heads, n_queries)
    mixed = [
        _attend_group(part, group, n_heads, n_queries or group.n_tokens)
        for part, group in split_groups(qkv, sequences.groups)
    ]
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed)


def first_tokens(tokens: Tensor, sequences: Sequences, count: int) -> Tensor:
    """The first `count` tokens of each sequence of a pack: (sequences x count, ...)."""
    if len(sequences.groups) == 1:
        whole = tokens.view(*sequences.groups[0], *tokens.shape[1:])
        return whole[:, :count].flatten(0, 1)
    assert sequences.starts is not None
    places = torch.arange(count, device=tokens.device)
    return tokens[(sequences.starts[:-1, None] + places).flatten()]


def split_groups(pack: Tensor, groups: tuple[Group, ...]) -> Iterator[tuple[Tensor, Group]]:
    """The rows of each group of a pack, as views."""
    start = 0
    for group in groups:
        n_rows = group.n_sequences * group.n_tokens
        yield pack[start : start + n_rows], group
        start += n_rows


def _attend_group(qkv: Tensor, group: Group, n_heads: int, n_queries: int) -> Tensor:
    dim = qkv.shape[1] // 3
    heads = qkv.view(*group, 3, n_heads, dim // n_heads)
    query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
    mixed = F.scaled_dot_product_attention(query[:, :, :n_queries], key, value)
    return mixed.transpose(1, 2).reshape(-1, dim)


def _has_varlen_kernel(qkv: Tensor) -> bool:
    return qkv.is_cuda and qkv.dtype in (torch.float16, torch.bfloat16)


def _attend_varlen(qkv: Tensor, sequences: Sequences, n_heads: int, n_queries: int) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn  # only CUDA builds need it

    assert sequences.starts is not None
    query, key, value = qkv.view(len(qkv), 3, n_heads, -1).unbind(1)
    asking = starts = sequences.starts
    asked = longest = max(group.n_tokens for group in sequences.groups)
    if n_queries:
        query = first_tokens(query, sequences, n_queries)
        asking = n_queries * torch.arange(len(starts), dtype=torch.int32, device=qkv.device)
        asked = n_queries
    mixed = varlen_attn(query, key, value, asking, starts, asked, longest)
    assert isinstance(mixed, Tensor)  # a tuple only if the log-sum-exp is asked for
    return mixed.flatten(1)

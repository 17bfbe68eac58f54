"""Self-attention over a pack of token sequences, each of which sees only itself.

A pack is one (tokens, dim) matrix: sequences of mixed lengths lie one after another, those of equal
length adjacent. Everything but attention works on the matrix as a whole, so the cost is that of
the tokens there are; no padding, no mask. Attention takes each run of equal lengths as one batch;
a GPU in half precision takes the whole pack through the variable-length kernel.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)


class Group(NamedTuple):
    """Adjacent sequences of one length."""

    n_sequences: int
    n_tokens: int


def attend(qkv: Tensor, groups: Sequence[Group], n_heads: int, n_queries: int) -> Tensor:
    """Attention of every sequence of a pack to itself.

    Args:
        qkv: (tokens, 3 x dim), in the order of the groups.
        groups: what the rows of `qkv` are.
        n_heads: attention heads.
        n_queries: how many of each sequence's first tokens ask; 0 for all.

    Returns:
        (queries, dim), sequence by sequence.
    """
    if len(groups) > 1 and not n_queries and _has_varlen_kernel(qkv):
        return _attend_varlen(qkv, groups, n_heads)
    mixed = [
        _attend_group(part, group, n_heads, n_queries or group.n_tokens)
        for part, group in split_groups(qkv, groups)
    ]
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed)


def split_groups(pack: Tensor, groups: Sequence[Group]) -> Iterator[tuple[Tensor, Group]]:
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


def _attend_varlen(qkv: Tensor, groups: Sequence[Group], n_heads: int) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn  # only CUDA builds need it

    lengths = [group.n_tokens for group in groups for _ in range(group.n_sequences)]
    ends = torch.tensor([0, *lengths], device=qkv.device).cumsum(0).to(torch.int32)
    query, key, value = qkv.view(len(qkv), 3, n_heads, -1).unbind(1)
    longest = max(lengths)
    mixed = varlen_attn(query, key, value, ends, ends, longest, longest)
    assert isinstance(mixed, Tensor)  # a tuple only if the log-sum-exp is asked for
    return mixed.reshape(len(qkv), -1)

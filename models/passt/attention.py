"""Self-attention over a pack of token sequences, each of which sees only itself.

A pack is one (tokens, dim) matrix: sequences of mixed lengths lie one after another, those of equal
length adjacent. Everything but attention works on the matrix as a whole, so the cost is that of
the tokens there are; no padding, no mask. Attention takes each run of equal lengths as one batch;
a GPU in half precision takes a pack of several lengths through the variable-length kernel.

On a GPU cuDNN's attention is a little faster than FlashAttention, but makes a plan for each shape,
which can take half a second. Only shapes that are recorded, and so come back in each batch, use it
(see `shapes_are_fixed`); all others go through FlashAttention, whatever torch would choose.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
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


_shapes_are_fixed: ContextVar[bool] = ContextVar("shapes_are_fixed", default=False)


@contextlib.contextmanager
def shapes_are_fixed() -> Iterator[None]:
    """Let attention within the block make plans for the shapes that it meets.

    A plan serves the thread that made it: forwards of these shapes are to come in the same thread,
    or recorded ones.
    """
    before = _shapes_are_fixed.set(True)
    try:
        yield
    finally:
        _shapes_are_fixed.reset(before)


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
    with _without_plans(qkv):
        mixed = F.scaled_dot_product_attention(query[:, :, :n_queries], key, value)
    return mixed.transpose(1, 2).reshape(-1, dim)


@contextlib.contextmanager
def _without_plans(qkv: Tensor) -> Iterator[None]:
    """Keep cuDNN out of attention on a GPU, unless the shapes are fixed."""
    settings = torch.backends.cuda
    is_on = settings.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    if not qkv.is_cuda or _shapes_are_fixed.get() or not is_on:
        yield
        return
    settings.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        settings.enable_cudnn_sdp(True)


def _has_varlen_kernel(qkv: Tensor) -> bool:
    return qkv.is_cuda and qkv.dtype in (torch.float16, torch.bfloat16)


def _attend_varlen(qkv: Tensor, sequences: Sequences, n_heads: int, n_queries: int) -> Tensor:
    assert sequences.starts is not None
    query, key, value = qkv.view(len(qkv), 3, n_heads, -1).unbind(1)
    asking = starts = sequences.starts
    asked = longest = max(group.n_tokens for group in sequences.groups)
    if n_queries:
        query = first_tokens(query, sequences, n_queries)
        asking = n_queries * torch.arange(len(starts), dtype=torch.int32, device=qkv.device)
        asked = n_queries
    # torch's own `varlen_attn` takes cuDNN on some GPUs, and imports much at its first call.
    mixed, *_ = torch.ops.aten._flash_attention_forward(
        *(query, key, value, asking, starts, asked, longest), 0.0, False, False
    )
    out: Tensor = mixed.flatten(1)
    return out

"""Self-attention over a pack of token sequences, where each sequence attends only to itself.

A pack is one (tokens, dim) matrix. It holds sequences of mixed lengths one after another, with
sequences of equal length adjacent. All layers except attention work on the whole matrix, so no
padding and no mask are needed. Attention computes each run of equal lengths as one batch. On a GPU
in half precision, a pack of several lengths goes through the variable-length kernel instead.

On a GPU cuDNN's attention is a little faster than FlashAttention, but it makes a plan for each
shape, which can take half a second. Only shapes that repeat in every batch are worth a plan: those
of captured CUDA graphs (see `allow_cudnn_plans`). All other shapes go through FlashAttention,
whatever torch would choose.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)


class Group(NamedTuple):
    """A run of adjacent sequences of equal length.

    Attributes:
        n_sequences: Number of sequences.
        n_tokens: Tokens per sequence.
    """

    n_sequences: int
    n_tokens: int


class Sequences(NamedTuple):
    """The division of a pack's rows into sequences.

    Attributes:
        groups: Runs of sequences of equal length, in the order of the rows.
        starts: First row of each sequence, and the number of rows at the end; int32
            (n_sequences + 1,) on the pack's device. May be None for a pack of one group.
    """

    groups: tuple[Group, ...]
    starts: Tensor | None = None


_may_plan: ContextVar[bool] = ContextVar("may_plan", default=False)


@contextlib.contextmanager
def allow_cudnn_plans() -> Iterator[None]:
    """Let attention use cuDNN within the block, which makes a plan for each new shape.

    A plan is valid only in the thread that made it. Later forwards of the same shapes must run in
    the same thread, or be replays of a CUDA graph.
    """
    before = _may_plan.set(True)
    try:
        yield
    finally:
        _may_plan.reset(before)


def attend(qkv: Tensor, sequences: Sequences, n_heads: int, n_queries: int) -> Tensor:
    """Compute the self-attention of every sequence of a pack.

    Args:
        qkv: Queries, keys and values of all tokens, (tokens, 3 x dim).
        sequences: The sequences that the rows of `qkv` belong to.
        n_heads: Number of attention heads.
        n_queries: Number of tokens at the start of each sequence to compute outputs for; 0 for all.

    Returns:
        Outputs of the query tokens, (queries, dim), sequence by sequence.
    """
    if len(sequences.groups) > 1 and _has_varlen_kernel(qkv):
        return _attend_varlen(qkv, sequences, n_heads, n_queries)
    mixed = [
        _attend_group(part, group, n_heads, n_queries or group.n_tokens)
        for part, group in split_groups(qkv, sequences.groups)
    ]
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed)


def first_tokens(tokens: Tensor, sequences: Sequences, count: int) -> Tensor:
    """Return the first `count` tokens of each sequence of a pack, (sequences x count, ...)."""
    if len(sequences.groups) == 1:
        grid = tokens.view(*sequences.groups[0], *tokens.shape[1:])
        return grid[:, :count].flatten(0, 1)
    assert sequences.starts is not None
    offsets = torch.arange(count, device=tokens.device)
    return tokens[(sequences.starts[:-1, None] + offsets).flatten()]


def split_groups(pack: Tensor, groups: tuple[Group, ...]) -> Iterator[tuple[Tensor, Group]]:
    """Yield the rows of each group of a pack, as a view, with the group."""
    start = 0
    for group in groups:
        n_rows = group.n_sequences * group.n_tokens
        yield pack[start : start + n_rows], group
        start += n_rows


def _attend_group(qkv: Tensor, group: Group, n_heads: int, n_queries: int) -> Tensor:
    dim = qkv.shape[1] // 3
    heads = qkv.view(*group, 3, n_heads, dim // n_heads)
    query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
    with _limit_cudnn(qkv):
        mixed = F.scaled_dot_product_attention(query[:, :, :n_queries], key, value)
    return mixed.transpose(1, 2).reshape(-1, dim)


@contextlib.contextmanager
def _limit_cudnn(qkv: Tensor) -> Iterator[None]:
    """Disable cuDNN's attention on a GPU within the block, except under `allow_cudnn_plans`."""
    settings = torch.backends.cuda
    is_on = settings.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    if not qkv.is_cuda or _may_plan.get() or not is_on:
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
    query_starts = starts = sequences.starts
    max_queries = max_tokens = max(group.n_tokens for group in sequences.groups)
    if n_queries:
        query = first_tokens(query, sequences, n_queries)
        query_starts = n_queries * torch.arange(len(starts), dtype=torch.int32, device=qkv.device)
        max_queries = n_queries
    # torch's own `varlen_attn` uses cuDNN on some GPUs, and its first call imports many modules.
    mixed, *_ = torch.ops.aten._flash_attention_forward(
        *(query, key, value, query_starts, starts, max_queries, max_tokens), 0.0, False, False
    )
    out: Tensor = mixed.flatten(1)
    return out

"""Packing: the choice of windows of mixed lengths that share a forward, without padding.

Frames after the last whole patch are dropped, so windows with the same number of time patches make
sequences of equal length. Windows are sorted by that length. Equal sequences are therefore adjacent
in a pack, and attention computes them as one batch (see `models.passt.attention`).
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from models.archs import ArchSpec
from models.inference.staging import StagedWindows
from models.passt.pack_layout import WindowPack
from models.passt.preprocess import AugmentMelSTFT
from models.passt.transformer import PaSST

WINDOW_TOKENS = 1190
"""Tokens of a window of 10 s at stride 10."""
CPU_PACK_TOKENS = 2 * WINDOW_TOKENS
"""Greatest number of tokens in one forward on a CPU. Half as many are slower in bf16, and twice as
many are slower in fp32 (BENCHMARKS.md)."""
INT8_PACK_TOKENS = WINDOW_TOKENS
"""Greatest number of tokens in one forward in int8, whose many small steps are faster in cache."""
GPU_PACK_TOKENS = 64 * WINDOW_TOKENS
"""Greatest number of tokens in one forward on a GPU with enough free memory."""
TOKEN_BYTES = 64 << 10
"""Generous estimate of a forward's memory per token, in bytes. It covers in fp32 a block's widest
layer before and after its activation, queries, keys and values, the residual, and the token's share
of the spectrogram."""

DeviceOutputs = tuple[Tensor, Tensor]
"""Logits (n, n_classes) and features (n, 768) on the net's device, which may still be computing."""


def max_pack_tokens(device: torch.device, precision: str = "fp32") -> int:
    """Return the greatest number of tokens for one forward on a device.

    On a GPU it is what fits into half of the free memory, but at least `WINDOW_TOKENS` and at most
    `GPU_PACK_TOKENS`.

    Args:
        device: Device that computes.
        precision: One of `models.passt.precision.PRECISIONS`.
    """
    if device.type != "cuda":
        return INT8_PACK_TOKENS if precision == "int8" else CPU_PACK_TOKENS
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return max(WINDOW_TOKENS, min(GPU_PACK_TOKENS, free_bytes // 2 // TOKEN_BYTES))


def packs(n_samples: Sequence[int], spec: ArchSpec, max_tokens: int) -> Iterator[list[int]]:
    """Yield the packs of a list of windows; every window is in exactly one pack.

    Args:
        n_samples: Samples of each window.
        spec: The arch.
        max_tokens: Greatest number of tokens per pack. A window with more is a pack of its own.

    Yields:
        Indices of the windows of a pack, longest sequences first, equal lengths adjacent.
    """
    n_tokens = [spec.n_tokens(n) for n in n_samples]
    pack: list[int] = []
    total = 0
    for row in sorted(range(len(n_tokens)), key=lambda row: -n_tokens[row]):
        if pack and total + n_tokens[row] > max_tokens:
            yield pack
            pack, total = [], 0
        pack.append(row)
        total += n_tokens[row]
    if pack:
        yield pack


def embed_staged(
    staged: StagedWindows, pack: WindowPack, net: PaSST, mel: AugmentMelSTFT
) -> DeviceOutputs:
    """Compute the logits and features of a pack of windows on the net's device."""
    if type(mel).forward is not AugmentMelSTFT.forward:
        return _embed_one_by_one(staged, pack, net, mel)
    if mel.can_fuse(staged.samples):
        frames = mel.fused_frames(*staged, pack.frame_slots)
    else:
        frames = mel.frames(staged.samples, pack.stream_index(staged.offsets))
    return net.forward_frames(frames, pack)


def _embed_one_by_one(
    staged: StagedWindows, pack: WindowPack, net: PaSST, mel: AugmentMelSTFT
) -> DeviceOutputs:
    """Compute each window alone, with a front end that overrides `AugmentMelSTFT.forward`."""
    windows = [
        staged.samples[offset : offset + n]
        for offset, n in zip(staged.offsets.tolist(), pack.n_samples, strict=True)
    ]
    logits, features = zip(*(net(mel(window[None])) for window in windows), strict=True)
    return torch.cat(logits), torch.cat(features)

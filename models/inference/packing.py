"""Which windows share a forward: packs of mixed lengths, nothing padded.

A patch grid drops the frames after its last whole patch, so windows with the same number of time
patches make sequences of the same length; sorted by it, they lie adjacent in a pack and attention
takes them as one batch (see `models.passt.attention`).
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
"""Of a window of 10 s at stride 10."""
CPU_PACK_TOKENS = 2 * WINDOW_TOKENS
"""Most tokens in one forward on a CPU: half as many are slower in bf16, and twice
as many in fp32 (BENCHMARKS.md)."""
INT8_PACK_TOKENS = WINDOW_TOKENS
"""The same in int8, whose many small steps are quicker while their data is in cache."""
GPU_PACK_TOKENS = 64 * WINDOW_TOKENS
TOKEN_BYTES = 64 << 10
"""What a forward takes for a token, generously: in fp32 a block's widest layer before and after its
activation, queries, keys and values, the residual, and the token's share of the spectrogram."""

DeviceOutputs = tuple[Tensor, Tensor]
"""Logits (n, n_classes) and features (n, 768), on the net's device, which may still be at them."""


def max_pack_tokens(device: torch.device, precision: str = "fp32") -> int:
    """Most tokens in one forward on a device.

    On a GPU what half of its free memory takes, at most `GPU_PACK_TOKENS`; a window in any case.

    Args:
        device: torch device.
        precision: one of `models.passt.precision.PRECISIONS`.
    """
    if device.type != "cuda":
        return INT8_PACK_TOKENS if precision == "int8" else CPU_PACK_TOKENS
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return max(WINDOW_TOKENS, min(GPU_PACK_TOKENS, free_bytes // 2 // TOKEN_BYTES))


def packs(n_samples: Sequence[int], spec: ArchSpec, max_tokens: int) -> Iterator[list[int]]:
    """Places of windows that go through together, each place once.

    Args:
        n_samples: length of each window.
        spec: the arch.
        max_tokens: most tokens a pack; a window with more goes alone.

    Yields:
        Places, longest sequences first, equal lengths adjacent.
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
    """Logits and features of one pack that is on the net's device."""
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
    """With a front end that does something else: it is asked for each window."""
    windows = [
        staged.samples[offset : offset + n]
        for offset, n in zip(staged.offsets.tolist(), pack.n_samples, strict=True)
    ]
    logits, features = zip(*(net(mel(window[None])) for window in windows), strict=True)
    return torch.cat(logits), torch.cat(features)

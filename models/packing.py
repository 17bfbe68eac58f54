"""Which windows share a forward: packs of mixed lengths, nothing padded.

A patch grid drops the frames after its last whole patch, so windows with the same number of time
patches make sequences of the same length; sorted by it, they lie adjacent in a pack and attention
takes them as one batch (see `models.attention`).
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor

from models.archs import EMBED_DIM, PATCH_SIZE, ArchSpec
from models.passt import PaSST
from models.preprocess import AugmentMelSTFT
from models.staging import staged

CPU_PACK_TOKENS = 1190
"""Most tokens in one forward on a CPU: a window of 10 s at stride 10. It fills the matrix units,
and the activations of more only outgrow the caches."""
GPU_PACK_TOKENS = 64 * 1190
TOKEN_BYTES = 64 << 10
"""What a forward takes for a token, generously: in fp32 a block's widest layer before and after its
activation, queries, keys and values, the residual, and the token's share of the spectrogram."""


def pack_tokens(device: torch.device) -> int:
    """Most tokens in one forward on a device.

    On a GPU what half of its free memory takes, at most `GPU_PACK_TOKENS`; a window in any case.
    """
    if device.type != "cuda":
        return CPU_PACK_TOKENS
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return max(CPU_PACK_TOKENS, min(GPU_PACK_TOKENS, free_bytes // 2 // TOKEN_BYTES))


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


def embed_packed(
    windows: Sequence[Tensor], net: PaSST, mel: AugmentMelSTFT, max_tokens: int
) -> tuple[Tensor, Tensor]:
    """Logits and features of windows of any mix of lengths, as if each were alone.

    Args:
        windows: float32 (n_samples,) each, of lengths that the arch takes, on any device.
        net: the transformer.
        mel: its front end.
        max_tokens: most tokens in one forward.

    Returns:
        float32 logits (n, n_classes) and features (n, 768), in the order of the windows, on the
        net's device.
    """
    device, spec = net.cls_token.device, net.spec
    logits = torch.empty(len(windows), spec.n_classes, device=device)
    features = torch.empty(len(windows), EMBED_DIM, device=device)
    for rows in packs([len(window) for window in windows], spec, max_tokens):
        pack = staged([windows[row] for row in rows], device)
        outputs = net.forward_pack(_spectrograms(pack, spec, mel))
        # A caller's autocast, or a net that was cast as a whole, gives fewer bits.
        logits[rows], features[rows] = (each.float() for each in outputs)
    return logits, features


def _spectrograms(windows: Sequence[Tensor], spec: ArchSpec, mel: AugmentMelSTFT) -> list[Tensor]:
    """Log-mel (count, 128, frames) of the windows of a pack, batched by sequence length, in order.

    Each window has its own reflect padding, and is cut to the frames that its patches cover.
    """
    batches = []
    for n_patches, alike in groupby(windows, key=lambda each: spec.n_time_patches(len(each))):
        n_frames = (n_patches - 1) * spec.stride + PATCH_SIZE
        parts = [
            mel(torch.stack(list(same)))[..., :n_frames] for _, same in groupby(alike, key=len)
        ]
        batches.append(torch.cat(parts))
    return batches

"""The PaSST transformer: a log-mel spectrogram to logits and features.

Module and parameter names are those of the published state dicts, so a checkpoint loads with no
renaming. Attention is torch's fused scaled-dot-product: the attention matrix is never written
out. See Koutini et al., "Efficient Training of Audio Transformers with Patchout", section 2.
"""

import torch
from timm.layers.mlp import Mlp
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from models.archs import EMBED_DIM, N_HEADS, PATCH_SIZE, ArchSpec
from models.errors import WindowError

BLOCK_NORM_EPS = 1e-6


class Attention(nn.Module):
    """Multi-head self-attention over a token sequence."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, dim) to the same shape."""
        batch, n_tokens, dim = tokens.shape
        qkv = self.qkv(tokens).view(batch, n_tokens, 3, self.n_heads, dim // self.n_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        projected: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, n_tokens, dim))
        return projected


class Block(nn.Module):
    """Pre-norm transformer block; its parameters carry the names of timm's ViT block."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=BLOCK_NORM_EPS)
        self.attn = Attention(dim, n_heads)
        self.norm2 = nn.LayerNorm(dim, eps=BLOCK_NORM_EPS)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, tokens, dim) to the same shape."""
        tokens = tokens + self.attn(self.norm1(tokens))
        mixed: Tensor = tokens + self.mlp(self.norm2(tokens))
        return mixed


class PatchEmbed(nn.Module):
    """Overlapping 16 x 16 patches of the spectrogram to vectors."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, EMBED_DIM, kernel_size=PATCH_SIZE, stride=stride)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """(batch, 1, bands, frames) to (batch, dim, freq patches, time patches)."""
        patches: Tensor = self.proj(spectrogram)
        return patches


class PaSST(nn.Module):
    """One PaSST as its `ArchSpec` says, in evaluation semantics.

    Args:
        spec: the arch; a state dict for it loads with `strict=True`.
    """

    def __init__(self, spec: ArchSpec) -> None:
        super().__init__()
        self.spec = spec
        n_freq, n_time = spec.grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, EMBED_DIM))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, EMBED_DIM))
        self.new_pos_embed = nn.Parameter(torch.zeros(1, 2, EMBED_DIM))
        self.freq_new_pos_embed = nn.Parameter(torch.zeros(1, EMBED_DIM, n_freq, 1))
        self.time_new_pos_embed = nn.Parameter(torch.zeros(1, EMBED_DIM, 1, n_time))
        self.patch_embed = PatchEmbed(spec.stride)
        self.blocks = nn.Sequential(*(Block(EMBED_DIM, N_HEADS) for _ in range(spec.depth)))
        self.norm = nn.LayerNorm(EMBED_DIM, eps=BLOCK_NORM_EPS)
        self.head = nn.Sequential(nn.LayerNorm(EMBED_DIM), nn.Linear(EMBED_DIM, spec.n_classes))
        # In every checkpoint, unused in the forward of the reference and of this one.
        self.head_dist = nn.Linear(EMBED_DIM, spec.n_classes)

    def tokens(self, spectrogram: Tensor) -> Tensor:
        """The input sequence: class, distillation, then the patches, frequency-major.

        Args:
            spectrogram: (batch, 128, frames).

        Returns:
            (batch, 2 + freq patches x time patches, 768).

        Raises:
            WindowError: fewer frames than one patch, or more patches than time positions.
        """
        n_frames = spectrogram.shape[-1]
        if n_frames < PATCH_SIZE:
            raise WindowError(
                f"a spectrogram of {n_frames} frames is too short for arch {self.spec.name!r}: "
                f"one patch takes {PATCH_SIZE} frames ({self.spec.min_samples} samples)"
            )
        patches = self.patch_embed(spectrogram.unsqueeze(1))
        n_time = patches.shape[-1]
        if n_time > self.spec.grid[1]:
            raise WindowError(
                f"a spectrogram of {n_frames} frames has {n_time} time patches, arch "
                f"{self.spec.name!r} has positions for {self.spec.grid[1]} (at most "
                f"{self.spec.max_samples} samples); cut it into windows"
            )
        patches = patches + self.time_new_pos_embed[..., :n_time] + self.freq_new_pos_embed
        heads = torch.cat((self.cls_token, self.dist_token), dim=1) + self.new_pos_embed
        sequence = patches.flatten(2).transpose(1, 2)
        return torch.cat((heads.expand(len(sequence), -1, -1), sequence), dim=1)

    def forward(self, spectrogram: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and features of a batch of spectrograms of one length.

        Args:
            spectrogram: float32 (batch, 128, frames), from `models.frontend.LogMel`.

        Returns:
            logits (batch, n_classes), before the sigmoid, and features (batch, 768), the mean of
            the class and the distillation token.
        """
        encoded = self.norm(self.blocks(self.tokens(spectrogram))[:, :2])
        features = encoded.mean(dim=1)
        return self.head(features), features

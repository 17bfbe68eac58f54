"""The layers of a PaSST: the patch embedding and the transformer blocks.

The blocks work on packs of token sequences (see `models.passt.attention`).
"""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from models.archs import EMBED_DIM, PATCH_SIZE
from models.passt.attention import Sequences, attend, first_tokens
from models.passt.fused import can_fuse
from models.passt.linear import Linear, LinearGelu

BLOCK_NORM_EPS = 1e-6
"""Number added to the variance in the layer norms of the blocks and after the last block."""


class Attention(nn.Module):
    """Multi-head self-attention over a pack of token sequences."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = Linear(dim, 3 * dim)
        self.proj = Linear(dim, dim)

    def forward(self, tokens: Tensor, sequences: Sequences, n_queries: int = 0) -> Tensor:
        """Compute the attention of a pack and its output projection.

        Args:
            tokens: (tokens, dim).
            sequences: The sequences that the rows of `tokens` belong to.
            n_queries: Number of tokens at the start of each sequence to compute; 0 for all.

        Returns:
            (queries, dim).
        """
        mixed = attend(self.qkv(tokens), sequences, self.n_heads, n_queries)
        projected: Tensor = self.proj(mixed)
        return projected


class Mlp(nn.Module):
    """Two linear layers with a GELU between them.

    The parameters have the names of timm's `Mlp`. timm's class itself is not used: importing timm
    takes as long as all other imports of a process that embeds.
    """

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = LinearGelu(dim, hidden_dim)
        self.fc2 = Linear(hidden_dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Apply both layers to tokens: (tokens, dim) to (tokens, dim)."""
        out: Tensor = self.fc2(self.fc1(tokens))
        return out


class Block(nn.Module):
    """Pre-norm transformer block, with the parameter names of timm's ViT block."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=BLOCK_NORM_EPS)
        self.attn = Attention(dim, n_heads)
        self.norm2 = nn.LayerNorm(dim, eps=BLOCK_NORM_EPS)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, tokens: Tensor, sequences: Sequences, n_queries: int = 0) -> Tensor:
        """Apply attention and the MLP, each with its residual.

        Args:
            tokens: (tokens, dim).
            sequences: The sequences that the rows of `tokens` belong to.
            n_queries: Number of tokens at the start of each sequence to compute; 0 for all.

        Returns:
            (queries, dim).
        """
        mixed = self.attn(self.norm1(tokens), sequences, n_queries)
        kept = first_tokens(tokens, sequences, n_queries) if n_queries else tokens
        kept = kept + mixed
        out: Tensor = kept + self.mlp(self.norm2(kept))
        return out

    def can_fuse(self, tokens: Tensor) -> bool:
        """Return whether `forward_fused` may replace `forward` for these tokens."""
        layers = (self, self.norm1, self.norm2, self.attn, self.attn.proj, self.mlp, self.mlp.fc2)
        classes = (Block, nn.LayerNorm, nn.LayerNorm, Attention, Linear, Mlp, Linear)
        return can_fuse(tokens, layers, classes)

    def deferred_biases(self) -> tuple[Tensor, Tensor]:
        """Return the two biases that `forward_fused` does not add, in order, each (dim,)."""
        return self.attn.proj.bias, self.mlp.fc2.bias

    def forward_fused(
        self,
        tokens: Tensor,
        deferred: tuple[Tensor | None, Tensor],
        sequences: Sequences,
        n_queries: int = 0,
    ) -> Tensor:
        """Compute `forward` with the residual additions fused into the matrix products.

        The biases of these products are deferred: they are added within the norms that follow.

        Args:
            tokens: Tokens without the deferred biases of earlier blocks, (tokens, dim). They are
                overwritten.
            deferred: Sum of all biases deferred before the first norm and before the second, each
                (dim,); None if there are none.
            sequences: The sequences that the rows of `tokens` belong to.
            n_queries: Number of tokens at the start of each sequence to compute; 0 for all.

        Returns:
            The outputs of `forward` without the biases deferred here or earlier, (queries, dim).
        """
        from models.passt.kernels import norm

        first, second = self.norm1, self.norm2
        normed = norm(tokens, deferred[0], first.weight, first.bias, first.eps)
        mixed = attend(self.attn.qkv(normed), sequences, self.attn.n_heads, n_queries)
        kept = first_tokens(tokens, sequences, n_queries) if n_queries else tokens
        kept.addmm_(mixed, self.attn.proj.weight.T)
        normed = norm(kept, deferred[1], second.weight, second.bias, second.eps)
        return kept.addmm_(self.mlp.fc1(normed), self.mlp.fc2.weight.T)


class PatchEmbed(nn.Module):
    """Linear embedding of overlapping 16 x 16 patches of a spectrogram.

    The state dict stores it as a convolution. It is computed as a matrix product over copies of the
    patches: no slower on a CPU, and on a GPU in the precision of the other matrix products.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, EMBED_DIM, kernel_size=PATCH_SIZE, stride=stride)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Embed all patches of a batch of spectrograms of one length.

        Args:
            spectrogram: (batch, 1, bands, frames).

        Returns:
            (batch, dim, freq patches, time patches).
        """
        (stride, _), bands_and_frames = self.proj.stride, spectrogram[:, 0]
        patches = bands_and_frames.unfold(1, PATCH_SIZE, stride).unfold(2, PATCH_SIZE, stride)
        return self._project(patches).permute(0, 3, 1, 2)

    def embed_frames(self, frames: Tensor, first: Tensor) -> Tensor:
        """Embed the patches that begin at given frames.

        Args:
            frames: Spectrogram frames of all windows, (frames, bands).
            first: Frame at which each time patch begins, int64 (n,).

        Returns:
            (n, freq patches, dim).
        """
        (stride, _), weight = self.proj.stride, self.proj.weight
        if can_fuse(frames, (self.proj,), (nn.Conv2d,)):
            from models.passt.kernels import copy_patches

            n_freq = (frames.shape[1] - PATCH_SIZE) // stride + 1
            copies = copy_patches(frames, first, n_freq, stride, PATCH_SIZE, weight.dtype)
            return F.linear(copies, weight.flatten(1), self.proj.bias)
        columns = frames.unfold(0, PATCH_SIZE, 1)[first]  # (n, bands, 16 frames)
        patches = columns.unfold(1, PATCH_SIZE, stride)
        return self._project(patches.transpose(2, 3))

    def _project(self, patches: Tensor) -> Tensor:
        """Embed patches: (..., 16 bands, 16 frames) to (..., dim)."""
        weight = self.proj.weight.flatten(1)
        return F.linear(patches.flatten(-2).to(weight.dtype), weight, self.proj.bias)

"""What a PaSST is built of: the patch embedding and the transformer blocks, over packs."""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own name for it)

from models.archs import EMBED_DIM, PATCH_SIZE
from models.passt.attention import Sequences, attend, first_tokens
from models.passt.fused import can_fuse
from models.passt.linear import Linear, LinearGelu

BLOCK_NORM_EPS = 1e-6


class Attention(nn.Module):
    """Multi-head self-attention over a pack."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = Linear(dim, 3 * dim)
        self.proj = Linear(dim, dim)

    def forward(self, tokens: Tensor, sequences: Sequences, n_queries: int = 0) -> Tensor:
        """(tokens, dim) to (queries, dim); all tokens ask where `n_queries` is 0."""
        mixed = attend(self.qkv(tokens), sequences, self.n_heads, n_queries)
        projected: Tensor = self.proj(mixed)
        return projected


class Mlp(nn.Module):
    """Two linear layers with a GELU between them.

    Its parameters carry the names of timm's, whose own cannot be taken: importing timm costs as
    much time as all else that a process imports before it embeds.
    """

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = LinearGelu(dim, hidden_dim)
        self.fc2 = Linear(hidden_dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(tokens, dim) to (tokens, dim)."""
        out: Tensor = self.fc2(self.fc1(tokens))
        return out


class Block(nn.Module):
    """Pre-norm transformer block; its parameters carry the names of timm's ViT block."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=BLOCK_NORM_EPS)
        self.attn = Attention(dim, n_heads)
        self.norm2 = nn.LayerNorm(dim, eps=BLOCK_NORM_EPS)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, tokens: Tensor, sequences: Sequences, n_queries: int = 0) -> Tensor:
        """(tokens, dim) to (queries, dim); all tokens where `n_queries` is 0."""
        mixed = self.attn(self.norm1(tokens), sequences, n_queries)
        kept = first_tokens(tokens, sequences, n_queries) if n_queries else tokens
        kept = kept + mixed
        out: Tensor = kept + self.mlp(self.norm2(kept))
        return out

    def can_fuse(self, tokens: Tensor) -> bool:
        """Return whether `fused` may compute what `forward` does."""
        layers = (self, self.norm1, self.norm2, self.attn, self.attn.proj, self.mlp, self.mlp.fc2)
        kinds = (Block, nn.LayerNorm, nn.LayerNorm, Attention, Linear, Mlp, Linear)
        return can_fuse(tokens, layers, kinds)

    def left_out(self) -> tuple[Tensor, Tensor]:
        """Return the biases that `fused` does not add, each (dim,), in their order."""
        return self.attn.proj.bias, self.mlp.fc2.bias

    def fused(
        self,
        tokens: Tensor,
        owed: tuple[Tensor | None, Tensor],
        sequences: Sequences,
        n_queries: int = 0,
    ) -> Tensor:
        """Compute `forward` without adding a residual by itself.

        Args:
            tokens: (tokens, dim), without the biases that blocks before this one have left out;
                overwritten.
            owed: Sum of the biases that were left out before each of the two norms, (dim,); None
                where that is nothing.
            sequences: What the rows of `tokens` are.
            n_queries: Number of each sequence's first tokens to compute; 0 for all.

        Returns:
            (queries, dim), as `forward`, without the biases that were left out here or before.
        """
        from models.passt.kernels import norm

        before, after = self.norm1, self.norm2
        normed = norm(tokens, owed[0], before.weight, before.bias, before.eps)
        mixed = attend(self.attn.qkv(normed), sequences, self.attn.n_heads, n_queries)
        kept = first_tokens(tokens, sequences, n_queries) if n_queries else tokens
        kept.addmm_(mixed, self.attn.proj.weight.T)
        normed = norm(kept, owed[1], after.weight, after.bias, after.eps)
        return kept.addmm_(self.mlp.fc1(normed), self.mlp.fc2.weight.T)


class PatchEmbed(nn.Module):
    """Overlapping 16 x 16 patches of the spectrogram to vectors.

    The convolution of the state dict, computed as a matrix product over patches that are copied
    out: no slower on a CPU, and on a GPU in the precision of the other products.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, EMBED_DIM, kernel_size=PATCH_SIZE, stride=stride)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """(batch, 1, bands, frames) to (batch, dim, freq patches, time patches)."""
        (stride, _), bands_and_frames = self.proj.stride, spectrogram[:, 0]
        patches = bands_and_frames.unfold(1, PATCH_SIZE, stride).unfold(2, PATCH_SIZE, stride)
        return self._project(patches).permute(0, 3, 1, 2)

    def of_frames(self, frames: Tensor, first: Tensor) -> Tensor:
        """(frames, bands) and the frame that each time patch begins at, to (n, freq, dim)."""
        (stride, _), weight = self.proj.stride, self.proj.weight
        if can_fuse(frames, (self.proj,), (nn.Conv2d,)):
            from models.passt.kernels import patches as copied

            n_freq = (frames.shape[1] - PATCH_SIZE) // stride + 1
            copies = copied(frames, first, n_freq, stride, PATCH_SIZE, weight.dtype)
            return F.linear(copies, weight.flatten(1), self.proj.bias)
        columns = frames.unfold(0, PATCH_SIZE, 1)[first]  # (n, bands, 16 frames)
        patches = columns.unfold(1, PATCH_SIZE, stride)
        return self._project(patches.transpose(2, 3))

    def _project(self, patches: Tensor) -> Tensor:
        """(..., 16 bands, 16 frames) to (..., dim)."""
        weight = self.proj.weight.flatten(1)
        return F.linear(patches.flatten(-2).to(weight.dtype), weight, self.proj.bias)

"""The PaSST transformer: log-mel spectrograms to logits and features.

Module and parameter names are those of the published state dicts, so a checkpoint loads with no
renaming. Sequences are packed (see `models.attention`), so one forward takes spectrograms of mixed
lengths. Without gradients the last block computes only what the output needs, the class and the
distillation token. See Koutini et al., "Efficient Training of Audio Transformers with Patchout",
section 2.
"""

from collections.abc import Mapping, Sequence

import torch
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from models.archs import EMBED_DIM, N_HEADS, N_MELS, PATCH_SIZE, ArchSpec
from models.attention import Group, attend, split_groups
from models.errors import WindowError
from models.linear import Linear, LinearGelu
from models.patchout import Patchout

BLOCK_NORM_EPS = 1e-6
N_SPECIAL = 2
"""The class and the distillation token, at the head of every sequence."""


class Attention(nn.Module):
    """Multi-head self-attention over a pack."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = Linear(dim, 3 * dim)
        self.proj = Linear(dim, dim)

    def forward(self, tokens: Tensor, groups: Sequence[Group], n_queries: int = 0) -> Tensor:
        """(tokens, dim) to (queries, dim); all tokens ask where `n_queries` is 0."""
        projected: Tensor = self.proj(attend(self.qkv(tokens), groups, self.n_heads, n_queries))
        return projected


class Block(nn.Module):
    """Pre-norm transformer block; its parameters carry the names of timm's ViT block."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=BLOCK_NORM_EPS)
        self.attn = Attention(dim, n_heads)
        self.norm2 = nn.LayerNorm(dim, eps=BLOCK_NORM_EPS)
        self.mlp = Mlp(dim, 4 * dim, act_layer=nn.Identity)
        self.mlp.fc1, self.mlp.fc2 = LinearGelu(dim, 4 * dim), Linear(4 * dim, dim)

    def forward(self, tokens: Tensor, groups: Sequence[Group], n_queries: int = 0) -> Tensor:
        """(tokens, dim) to (queries, dim); all tokens where `n_queries` is 0."""
        mixed = self.attn(self.norm1(tokens), groups, n_queries)
        kept = first_tokens(tokens, groups, n_queries) if n_queries else tokens
        kept = kept + mixed
        out: Tensor = kept + self.mlp(self.norm2(kept))
        return out


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
    """One PaSST as its `ArchSpec` says, in evaluation until `train()` is called.

    Args:
        spec: the arch; a state dict for it loads with `strict=True`.
        patchout: what training drops; nothing by default.
    """

    def __init__(self, spec: ArchSpec, patchout: Patchout | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.patchout = patchout or Patchout()
        n_freq, n_time = spec.grid
        self.patchout.check(n_freq, n_time)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, EMBED_DIM))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, EMBED_DIM))
        self.new_pos_embed = nn.Parameter(torch.zeros(1, N_SPECIAL, EMBED_DIM))
        self.freq_new_pos_embed = nn.Parameter(torch.zeros(1, EMBED_DIM, n_freq, 1))
        self.time_new_pos_embed = nn.Parameter(torch.zeros(1, EMBED_DIM, 1, n_time))
        self.patch_embed = PatchEmbed(spec.stride)
        self.blocks = nn.ModuleList(Block(EMBED_DIM, N_HEADS) for _ in range(spec.depth))
        self.norm = nn.LayerNorm(EMBED_DIM, eps=BLOCK_NORM_EPS)
        self.head = nn.Sequential(nn.LayerNorm(EMBED_DIM), nn.Linear(EMBED_DIM, spec.n_classes))
        # In every checkpoint, but no output depends on it, in the reference neither: frozen, so
        # that every parameter which asks for a gradient gets one.
        self.head_dist = nn.Linear(EMBED_DIM, spec.n_classes).requires_grad_(False)
        self.eval()

    @classmethod
    def from_state_dict(
        cls, spec: ArchSpec, state_dict: Mapping[str, Tensor], patchout: Patchout | None = None
    ) -> "PaSST":
        """A net that takes over these tensors as its parameters.

        Args:
            spec: the arch.
            state_dict: exactly its keys and shapes.
            patchout: what training drops.
        """
        with torch.device("meta"):
            net = cls(spec, patchout)
        # assign: there is never a second copy in memory.
        net.load_state_dict(state_dict, strict=True, assign=True)
        return net

    def forward(self, spectrogram: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and features of a batch of spectrograms of one length.

        Args:
            spectrogram: (batch, 128, frames) or (batch, 1, 128, frames), from
                `models.preprocess.AugmentMelSTFT`.

        Returns:
            logits (batch, n_classes), before the sigmoid, and features (batch, 768), the mean of
            the class and the distillation token.

        Raises:
            WindowError: of another shape, fewer frames than one patch, or more patches than time
                positions.
        """
        return self.forward_pack([spectrogram])

    def forward_pack(self, spectrograms: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits and features of several batches at once, in their order.

        Args:
            spectrograms: batches as `forward` takes them, each of its own length.

        Raises:
            WindowError: as `forward`.
        """
        tokens, groups = self._pack(spectrograms)
        skips = 0 if torch.is_grad_enabled() else N_SPECIAL
        *first_blocks, last_block = self.blocks
        for block in first_blocks:
            tokens = block(tokens, groups)
        tokens = last_block(tokens, groups, skips)
        special = tokens if skips else first_tokens(tokens, groups, N_SPECIAL)
        encoded = self.norm(special.to(self.norm.weight.dtype))
        features = encoded.view(-1, N_SPECIAL, EMBED_DIM).mean(dim=1)
        return self.head(features), features

    def encode(self, spectrogram: Tensor) -> Tensor:
        """All tokens after the last norm: class, distillation, then the patches.

        Args:
            spectrogram: as `forward` takes it.

        Returns:
            (batch, 2 + freq patches x time patches, 768).
        """
        tokens, groups = self._pack([spectrogram])
        for block in self.blocks:
            tokens = block(tokens, groups)
        encoded: Tensor = self.norm(tokens.to(self.norm.weight.dtype))
        return encoded.view(*groups[0], EMBED_DIM)

    def tokens(self, spectrogram: Tensor) -> Tensor:
        """The input sequences: class, distillation, then the patches, frequency-major.

        Args:
            spectrogram: as `forward` takes it.

        Returns:
            (batch, 2 + freq patches x time patches, 768); fewer in training with patchout.
        """
        self._check(spectrogram)
        n_frames = spectrogram.shape[-1]
        spectrogram = spectrogram.to(self.patch_embed.proj.weight.dtype)
        patches = self.patch_embed(spectrogram.view(-1, 1, N_MELS, n_frames))
        n_time = patches.shape[-1]
        patches = patches + self.time_new_pos_embed[..., :n_time] + self.freq_new_pos_embed
        if self.training:
            patches = self.patchout.drop_rows_and_columns(patches)
        sequence = patches.flatten(2).transpose(1, 2)
        if self.training:
            sequence = self.patchout.drop_patches(sequence)
        special = torch.cat((self.cls_token, self.dist_token), dim=1) + self.new_pos_embed
        return torch.cat((special.expand(len(sequence), -1, -1), sequence), dim=1)

    def _pack(self, spectrograms: Sequence[Tensor]) -> tuple[Tensor, list[Group]]:
        sequences = [self.tokens(batch) for batch in spectrograms]
        groups = [Group(*batch.shape[:2]) for batch in sequences]
        flat = [batch.flatten(0, 1) for batch in sequences]
        return (flat[0] if len(flat) == 1 else torch.cat(flat)), groups

    def _check(self, spectrogram: Tensor) -> None:
        shape = tuple(spectrogram.shape)
        if not (len(shape) == 3 or (len(shape) == 4 and shape[1] == 1)) or shape[-2] != N_MELS:
            raise WindowError(
                f"a spectrogram must be (batch, {N_MELS}, frames) or (batch, 1, {N_MELS}, frames), "
                f"got {shape}"
            )
        n_time = (shape[-1] - PATCH_SIZE) // self.spec.stride + 1
        if n_time < 1:
            raise WindowError(
                f"a spectrogram of {shape[-1]} frames is too short for arch {self.spec.name!r}: "
                f"one patch takes {PATCH_SIZE} frames ({self.spec.min_samples} samples); pad the "
                "clip with zeros"
            )
        if n_time > self.spec.grid[1]:
            raise WindowError(
                f"a spectrogram of {shape[-1]} frames has {n_time} time patches, arch "
                f"{self.spec.name!r} has positions for {self.spec.grid[1]} (at most "
                f"{self.spec.max_samples} samples); cut it into windows, as get_scene_embeddings "
                "does, or take an arch with longer windows (passt_20sec, passt_30sec)"
            )


def first_tokens(tokens: Tensor, groups: Sequence[Group], count: int) -> Tensor:
    """The first `count` tokens of each sequence of a pack: (sequences x count, dim)."""
    parts = split_groups(tokens, groups)
    first = [part.view(*group, -1)[:, :count].flatten(0, 1) for part, group in parts]
    return first[0] if len(first) == 1 else torch.cat(first)


def init_parameters(net: PaSST) -> PaSST:
    """Draw the parameters for training from nothing, as a ViT is started; the net itself."""

    def init(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)

    net.apply(init)
    for name, parameter in net.named_parameters():
        if name.endswith(("_token", "pos_embed")):
            nn.init.trunc_normal_(parameter, std=0.02)
    return net

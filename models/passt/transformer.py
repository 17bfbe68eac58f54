"""The PaSST transformer: log-mel spectrograms to logits and features.

Module and parameter names are those of the published state dicts, so a checkpoint loads without
renaming. Sequences are packed (see `models.passt.attention`), so one forward takes windows of mixed
lengths. Without gradients the last block computes only the class and the distillation token, which
are all that the output needs. See Koutini et al., "Efficient Training of Audio Transformers with
Patchout", section 2.
"""

import dataclasses
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from models.archs import EMBED_DIM, N_HEADS, N_MELS, PATCH_SIZE, ArchSpec
from models.errors import ModelError, WindowError
from models.passt.attention import Group, Sequences, first_tokens
from models.passt.blocks import BLOCK_NORM_EPS, Block, PatchEmbed
from models.passt.fused import can_fuse
from models.passt.pack_layout import N_SPECIAL, WindowPack
from models.passt.patchout import Patchout

_INIT_STD = 0.02
"""Standard deviation of the initial weights in training."""


class PaSST(nn.Module):
    """A PaSST network of a given arch, in evaluation mode until `train()` is called.

    Args:
        spec: The arch. A state dict of this arch loads with `strict=True`.
        patchout: Patches to drop in training; None for no dropping.
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
        # Every checkpoint has this classifier, but no output depends on it, as in the reference.
        # It is frozen, so that every parameter that requires a gradient gets one.
        self.head_dist = nn.Linear(EMBED_DIM, spec.n_classes).requires_grad_(False)
        self.eval()

    @classmethod
    def from_state_dict(
        cls, spec: ArchSpec, state_dict: Mapping[str, Tensor], patchout: Patchout | None = None
    ) -> "PaSST":
        """Create a net whose parameters are the tensors of a state dict, not copies.

        Args:
            spec: The arch.
            state_dict: Tensors with exactly the keys and shapes of the arch.
            patchout: Patches to drop in training; None for no dropping.
        """
        with torch.device("meta"):
            net = cls(spec, patchout)
        # With assign=True there is never a second copy of the weights in memory.
        net.load_state_dict(state_dict, strict=True, assign=True)
        return net

    @torch.jit.ignore  # type: ignore[untyped-decorator]
    def no_weight_decay(self) -> set[str]:
        """Return the names of the parameters that weight decay must not shrink.

        timm's optimizers call this: `timm.optim.create_optimizer_v2(net, ...)`.
        """
        tokens = {"cls_token", "dist_token"}
        return tokens | {"new_pos_embed", "freq_new_pos_embed", "time_new_pos_embed"}

    def get_classifier(self) -> tuple[nn.Sequential, nn.Linear]:
        """Return the classifier (norm and linear layer) and the distillation token's classifier."""
        return self.head, self.head_dist

    def reset_classifier(self, n_classes: int) -> None:
        """Replace the linear layers of both classifiers by new random ones.

        Args:
            n_classes: Number of classes, at least 1.

        Raises:
            ModelError: `n_classes` is less than 1.
        """
        if n_classes < 1:
            raise ModelError(f"n_classes must be at least 1 (got {n_classes})")
        with torch.device(self.norm.weight.device):
            layers = nn.Linear(EMBED_DIM, n_classes), nn.Linear(EMBED_DIM, n_classes)
        for layer in layers:
            nn.init.trunc_normal_(layer.weight, std=_INIT_STD)
            nn.init.zeros_(layer.bias)
        self.head[1], self.head_dist = layers[0], layers[1].requires_grad_(False)
        self.spec = dataclasses.replace(self.spec, n_classes=n_classes)

    def forward(self, spectrogram: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the logits and features of a batch of spectrograms of one length.

        Args:
            spectrogram: Spectrograms from `models.passt.preprocess.AugmentMelSTFT`,
                (batch, 128, frames) or (batch, 1, 128, frames).

        Returns:
            Logits before the sigmoid, (batch, n_classes), and features, (batch, 768). Features are
            the mean of the class and the distillation token.

        Raises:
            WindowError: The shape is wrong, there are fewer frames than one patch has, or more time
                patches than the arch has positions.
        """
        tokens = self.tokens(spectrogram)
        return self._outputs(tokens.flatten(0, 1), Sequences((Group(*tokens.shape[:2]),)))

    def forward_frames(self, frames: Tensor, pack: WindowPack) -> tuple[Tensor, Tensor]:
        """Compute the logits and features of windows of mixed lengths, without patchout.

        Args:
            frames: Frames of all windows from `AugmentMelSTFT.frames`, float32 (frames, 128).
            pack: Geometry of the windows.

        Returns:
            Logits (windows, n_classes) and features (windows, 768), as from `forward`.
        """
        patches = self.patch_embed.embed_frames(frames, pack.patch_frames)
        return self._outputs(self._add_positions(patches, pack), pack.sequences)

    def _add_positions(self, patches: Tensor, pack: WindowPack) -> Tensor:
        """Build the token sequences (tokens, dim) of a pack from its patches (n, freq, dim).

        Adds the position embeddings and inserts the special tokens.
        """
        times, freqs = self.time_new_pos_embed[0, :, 0].T, self.freq_new_pos_embed[0, :, :, 0].T
        if can_fuse(patches, (), ()):
            from models.passt.kernels import place_tokens

            positions = patches.new_empty(len(times), len(freqs), EMBED_DIM)
            torch.add(times[:, None], freqs, out=positions)
            indices = pack.patch_times, pack.patch_tokens
            return place_tokens(patches, positions, *indices, self._special(), pack.special_tokens)
        patches = patches + times[pack.patch_times][:, None] + freqs
        tokens = patches.new_empty(pack.n_tokens, EMBED_DIM)
        tokens[pack.patch_tokens] = patches.flatten(0, 1)
        n_windows = len(pack.special_tokens) // N_SPECIAL
        tokens[pack.special_tokens] = self._special().repeat(n_windows, 1).to(tokens.dtype)
        return tokens

    def _outputs(self, tokens: Tensor, sequences: Sequences) -> tuple[Tensor, Tensor]:
        n_queries = 0 if torch.is_grad_enabled() else N_SPECIAL
        tokens = self._apply_blocks(tokens, sequences, n_queries)
        special = tokens if n_queries else first_tokens(tokens, sequences, N_SPECIAL)
        encoded = self.norm(special.to(self.norm.weight.dtype))
        features = encoded.view(-1, N_SPECIAL, EMBED_DIM).mean(dim=1)
        return self.head(features), features

    def _apply_blocks(self, tokens: Tensor, sequences: Sequences, n_queries: int = 0) -> Tensor:
        """Apply all blocks: (tokens, dim) to (queries, dim); `tokens` may be overwritten.

        The last block computes the first `n_queries` tokens of each sequence, or all for 0.
        """
        blocks = [cast(Block, block) for block in self.blocks]
        queries_per_block = [0] * (len(blocks) - 1) + [n_queries]
        if not all(block.can_fuse(tokens) for block in blocks):
            for block, n in zip(blocks, queries_per_block, strict=True):
                tokens = block(tokens, sequences, n)
            return tokens
        biases = torch.cat([bias for block in blocks for bias in block.deferred_biases()])
        sums = biases.view(-1, EMBED_DIM).cumsum(0, dtype=torch.float32).unbind()
        # The biases deferred before each first norm and each second norm, block by block.
        deferred = zip((None, *sums)[::2], sums[::2], strict=False)
        for block, n, biases_before in zip(blocks, queries_per_block, deferred, strict=True):
            tokens = block.forward_fused(tokens, biases_before, sequences, n)
        return tokens + sums[-1]

    def _special(self) -> Tensor:
        """Return the class and the distillation token with their position embeddings, (2, dim)."""
        return (torch.cat((self.cls_token, self.dist_token), dim=1) + self.new_pos_embed)[0]

    def encode(self, spectrogram: Tensor) -> Tensor:
        """Compute all tokens after the last norm: class, distillation, then the patches.

        Args:
            spectrogram: Input of `forward`.

        Returns:
            (batch, 2 + freq patches x time patches, 768).
        """
        sequence = self.tokens(spectrogram)
        tokens, sequences = sequence.flatten(0, 1), Sequences((Group(*sequence.shape[:2]),))
        tokens = self._apply_blocks(tokens, sequences)
        encoded: Tensor = self.norm(tokens.to(self.norm.weight.dtype))
        return encoded.view_as(sequence)

    def tokens(self, spectrogram: Tensor) -> Tensor:
        """Build the input sequences of the blocks: class, distillation, then the patches.

        Patches are ordered by frequency row, then by time.

        Args:
            spectrogram: Input of `forward`.

        Returns:
            (batch, 2 + freq patches x time patches, 768); fewer in training with patchout.
        """
        self._check(spectrogram)
        n_frames = spectrogram.shape[-1]
        patches = self.patch_embed(spectrogram.view(-1, 1, N_MELS, n_frames))
        n_time = patches.shape[-1]
        patches = patches + self.time_new_pos_embed[..., :n_time] + self.freq_new_pos_embed
        if self.training:
            patches = self.patchout.drop_rows_and_columns(patches)
        sequence = patches.flatten(2).transpose(1, 2)
        if self.training:
            sequence = self.patchout.drop_patches(sequence)
        special = self._special().expand(len(sequence), -1, -1)
        return torch.cat((special, sequence), dim=1)

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
                f"a spectrogram of {shape[-1]} frames has {n_time} time patches, but arch "
                f"{self.spec.name!r} has positions for {self.spec.grid[1]} (at most "
                f"{self.spec.max_samples} samples); cut it into windows, as get_scene_embeddings "
                "does, or use an arch with longer windows (passt_20sec, passt_30sec)"
            )


def init_parameters(net: PaSST) -> PaSST:
    """Initialize a net for training from scratch, like a ViT, and return it."""

    def init(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=_INIT_STD)
            nn.init.zeros_(module.bias)

    net.apply(init)
    for name, parameter in net.named_parameters():
        if name.endswith(("_token", "pos_embed")):
            nn.init.trunc_normal_(parameter, std=_INIT_STD)
    return net

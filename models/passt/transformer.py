"""The PaSST transformer: log-mel spectrograms to logits and features.

Module and parameter names are those of the published state dicts, so a checkpoint loads with no
renaming. Sequences are packed (see `models.passt.attention`), so one forward takes windows of mixed
lengths. Without gradients the last block computes only what the output needs, the class and the
distillation token. See Koutini et al., "Efficient Training of Audio Transformers with Patchout",
section 2.
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
"""Standard deviation of the weights that a training starts from."""


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

    @torch.jit.ignore  # type: ignore[untyped-decorator]
    def no_weight_decay(self) -> set[str]:
        """Return the names of the parameters that weight decay must not shrink.

        The optimizers of timm ask for them: `timm.optim.create_optimizer_v2(net, ...)`.
        """
        tokens = {"cls_token", "dist_token"}
        return tokens | {"new_pos_embed", "freq_new_pos_embed", "time_new_pos_embed"}

    def get_classifier(self) -> tuple[nn.Sequential, nn.Linear]:
        """Return the classifier, a norm and a linear layer, and that of the distillation token."""
        return self.head, self.head_dist

    def reset_classifier(self, n_classes: int) -> None:
        """Replace the linear layer of both classifiers by a new random one; all else stays.

        Args:
            n_classes: Number of classes, at least 1.

        Raises:
            ModelError: It is less than 1.
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
        """Logits and features of a batch of spectrograms of one length.

        Args:
            spectrogram: (batch, 128, frames) or (batch, 1, 128, frames), from
                `models.passt.preprocess.AugmentMelSTFT`.

        Returns:
            logits (batch, n_classes), before the sigmoid, and features (batch, 768), the mean of
            the class and the distillation token.

        Raises:
            WindowError: of another shape, fewer frames than one patch, or more patches than time
                positions.
        """
        tokens = self.tokens(spectrogram)
        return self._outputs(tokens.flatten(0, 1), Sequences((Group(*tokens.shape[:2]),)))

    def forward_frames(self, frames: Tensor, pack: WindowPack) -> tuple[Tensor, Tensor]:
        """Logits and features of windows of mixed lengths, as evaluation has them.

        Args:
            frames: float32 (frames, 128), from `AugmentMelSTFT.frames`.
            pack: what of them belongs to which window.

        Returns:
            As `forward`, a row a window.
        """
        patches = self.patch_embed.of_frames(frames, pack.patch_frames)
        return self._outputs(self._placed(patches, pack), pack.sequences)

    def _placed(self, patches: Tensor, pack: WindowPack) -> Tensor:
        """Return the token sequences of a pack, (tokens, dim), from its patches, (n, freq, dim)."""
        times, freqs = self.time_new_pos_embed[0, :, 0].T, self.freq_new_pos_embed[0, :, :, 0].T
        if can_fuse(patches, (), ()):
            from models.passt.kernels import placed

            positions = patches.new_empty(len(times), len(freqs), EMBED_DIM)
            torch.add(times[:, None], freqs, out=positions)
            at = pack.patch_times, pack.patch_tokens
            return placed(patches, positions, *at, self._special(), pack.special_tokens)
        patches = patches + times[pack.patch_times][:, None] + freqs
        tokens = patches.new_empty(pack.n_tokens, EMBED_DIM)
        tokens[pack.patch_tokens] = patches.flatten(0, 1)
        n_windows = len(pack.special_tokens) // N_SPECIAL
        tokens[pack.special_tokens] = self._special().repeat(n_windows, 1).to(tokens.dtype)
        return tokens

    def _outputs(self, tokens: Tensor, sequences: Sequences) -> tuple[Tensor, Tensor]:
        skips = 0 if torch.is_grad_enabled() else N_SPECIAL
        tokens = self._through_blocks(tokens, sequences, skips)
        special = tokens if skips else first_tokens(tokens, sequences, N_SPECIAL)
        encoded = self.norm(special.to(self.norm.weight.dtype))
        features = encoded.view(-1, N_SPECIAL, EMBED_DIM).mean(dim=1)
        return self.head(features), features

    def _through_blocks(self, tokens: Tensor, sequences: Sequences, n_queries: int = 0) -> Tensor:
        """(tokens, dim) to (queries, dim), as `Block` has it; `tokens` may be overwritten."""
        blocks = [cast(Block, block) for block in self.blocks]
        n_asked = [0] * (len(blocks) - 1) + [n_queries]
        if not all(block.can_fuse(tokens) for block in blocks):
            for block, n in zip(blocks, n_asked, strict=True):
                tokens = block(tokens, sequences, n)
            return tokens
        biases = torch.cat([bias for block in blocks for bias in block.left_out()])
        sums = biases.view(-1, EMBED_DIM).cumsum(0, dtype=torch.float32).unbind()
        before = None, *sums
        for block, n, owed in zip(
            blocks, n_asked, zip(before[::2], sums[::2], strict=False), strict=True
        ):
            tokens = block.fused(tokens, owed, sequences, n)
        return tokens + sums[-1]

    def _special(self) -> Tensor:
        """The class and the distillation token with their positions, (2, dim)."""
        return (torch.cat((self.cls_token, self.dist_token), dim=1) + self.new_pos_embed)[0]

    def encode(self, spectrogram: Tensor) -> Tensor:
        """All tokens after the last norm: class, distillation, then the patches.

        Args:
            spectrogram: as `forward` takes it.

        Returns:
            (batch, 2 + freq patches x time patches, 768).
        """
        sequence = self.tokens(spectrogram)
        tokens, sequences = sequence.flatten(0, 1), Sequences((Group(*sequence.shape[:2]),))
        tokens = self._through_blocks(tokens, sequences)
        encoded: Tensor = self.norm(tokens.to(self.norm.weight.dtype))
        return encoded.view_as(sequence)

    def tokens(self, spectrogram: Tensor) -> Tensor:
        """The input sequences: class, distillation, then the patches, frequency-major.

        Args:
            spectrogram: as `forward` takes it.

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
                f"a spectrogram of {shape[-1]} frames has {n_time} time patches, arch "
                f"{self.spec.name!r} has positions for {self.spec.grid[1]} (at most "
                f"{self.spec.max_samples} samples); cut it into windows, as get_scene_embeddings "
                "does, or take an arch with longer windows (passt_20sec, passt_30sec)"
            )


def init_parameters(net: PaSST) -> PaSST:
    """Draw the parameters for training from nothing, as a ViT is started; the net itself."""

    def init(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=_INIT_STD)
            nn.init.zeros_(module.bias)

    net.apply(init)
    for name, parameter in net.named_parameters():
        if name.endswith(("_token", "pos_embed")):
            nn.init.trunc_normal_(parameter, std=_INIT_STD)
    return net

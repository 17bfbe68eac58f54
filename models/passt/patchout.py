"""Patchout: training drops patches at random, which is what makes PaSST cheap to train.

Koutini et al., section 2.2: structured patchout drops whole frequency rows or time columns of the
patch grid, unstructured patchout single patches. One draw serves the whole batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.errors import ModelError, WindowError


@dataclass(frozen=True, slots=True)
class Patchout:
    """How much to drop in training.

    Attributes:
        unstructured: patches of the sequence, after the structured ones.
        time: columns of the patch grid.
        frequency: rows of the patch grid.
    """

    unstructured: int = 0
    time: int = 0
    frequency: int = 0

    def check(self, n_freq: int, n_time: int) -> None:
        """Refuse what leaves no patch of a full grid.

        Raises:
            ModelError: negative, or as many as there are.
        """
        left = (n_freq - self.frequency) * (n_time - self.time)
        for name, value, limit in (
            ("s_patchout_f", self.frequency, n_freq),
            ("s_patchout_t", self.time, n_time),
            ("u_patchout", self.unstructured, left),
        ):
            if not 0 <= value < limit:
                raise ModelError(f"{name} must be 0 to {limit - 1} (got {value})")

    def drop_rows_and_columns(self, patches: Tensor) -> Tensor:
        """(batch, dim, freq, time) without the dropped columns and rows."""
        if self.time:
            patches = patches[..., _kept(patches.shape[-1], self.time, "s_patchout_t", patches)]
        if self.frequency:
            rows = _kept(patches.shape[-2], self.frequency, "s_patchout_f", patches)
            patches = patches[:, :, rows]
        return patches

    def drop_patches(self, sequence: Tensor) -> Tensor:
        """(batch, patches, dim) without the dropped patches."""
        if self.unstructured:
            kept = _kept(sequence.shape[1], self.unstructured, "u_patchout", sequence)
            sequence = sequence[:, kept]
        return sequence


def _kept(n: int, n_dropped: int, name: str, like: Tensor) -> Tensor:
    if n_dropped >= n:
        raise WindowError(
            f"{name} drops {n_dropped} of {n}, which leaves nothing of this clip; train on longer "
            "clips or drop less"
        )
    return torch.randperm(n)[: n - n_dropped].sort().values.to(like.device)

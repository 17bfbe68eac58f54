"""Patchout: random dropping of patches in training, which makes PaSST cheap to train.

Structured patchout drops whole frequency rows or time columns of the patch grid; unstructured
patchout drops single patches (Koutini et al., section 2.2). All clips of a batch lose the same
patches.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.errors import ModelError, WindowError


@dataclass(frozen=True, slots=True)
class Patchout:
    """Numbers of patches, columns and rows that training drops.

    Attributes:
        unstructured: Single patches to drop, after the columns and rows.
        time: Columns of the patch grid to drop.
        frequency: Rows of the patch grid to drop.
    """

    unstructured: int = 0
    time: int = 0
    frequency: int = 0

    def check(self, n_freq: int, n_time: int) -> None:
        """Raise an error if a number is negative or no patch of a full grid would be left.

        Args:
            n_freq: Rows of the full patch grid.
            n_time: Columns of the full patch grid.

        Raises:
            ModelError: A number is negative, or at least the number of items to drop from.
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
        """Drop random columns and rows from a patch grid (batch, dim, freq, time)."""
        if self.time:
            columns = _draw_kept(patches.shape[-1], self.time, "s_patchout_t", patches)
            patches = patches[..., columns]
        if self.frequency:
            rows = _draw_kept(patches.shape[-2], self.frequency, "s_patchout_f", patches)
            patches = patches[:, :, rows]
        return patches

    def drop_patches(self, sequence: Tensor) -> Tensor:
        """Drop random patches from sequences (batch, patches, dim)."""
        if self.unstructured:
            kept = _draw_kept(sequence.shape[1], self.unstructured, "u_patchout", sequence)
            sequence = sequence[:, kept]
        return sequence


def _draw_kept(n: int, n_dropped: int, name: str, like: Tensor) -> Tensor:
    """Draw the indices to keep, in ascending order, on the device of `like`."""
    if n_dropped >= n:
        raise WindowError(
            f"{name} drops {n_dropped} of {n}, which leaves nothing of this clip; train on longer "
            "clips or drop less"
        )
    return torch.randperm(n)[: n - n_dropped].sort().values.to(like.device)

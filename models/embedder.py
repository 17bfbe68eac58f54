"""Windows of any mix of lengths to logits and features, each as if it were embedded alone.

Arrays in, arrays out: this is what `pipeline` holds in a worker. Windows of one call share forwards
(see `models.packing`); the result does not depend on the company a window keeps.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.archs import ArchSpec
from models.audio import check_length
from models.errors import WindowError
from models.moments import embed_moments
from models.packing import embed_packed, pack_tokens
from models.passt import PaSST
from models.precision import check_precision, convert
from models.preprocess import AugmentMelSTFT
from models.timestamps import TIMESTAMP_HOP, Level, longest_window

Samples = npt.NDArray[np.float32]
Vectors = npt.NDArray[np.float32]
T = TypeVar("T")

_FEWEST_TOKENS = 128
"""Smaller batches would save nothing: a window that does not fit then never does."""


class Outputs(NamedTuple):
    """What a model says of n windows, in the order they were given."""

    features: Vectors
    """(n, 768)"""
    logits: Vectors
    """(n, n_classes), before the sigmoid"""


class Embedder:
    """A PaSST with its front end on one device.

    Args:
        spec: the arch.
        state_dict: its weights, checked by `models.weights`.
        device: torch device.
        max_tokens: most tokens in one forward; None for what suits the device. Halved, and left
            so, as often as the device runs out of memory.
        precision: one of `models.precision.PRECISIONS`.

    Raises:
        ModelError: the device cannot compute in that precision.
    """

    def __init__(
        self,
        spec: ArchSpec,
        state_dict: Mapping[str, Tensor],
        device: str = "cpu",
        max_tokens: int | None = None,
        precision: str = "fp32",
    ) -> None:
        self.spec = spec
        self.precision = precision
        self.device = torch.device(device)
        check_precision(precision, self.device)
        self.max_tokens = max_tokens or pack_tokens(self.device)
        net = PaSST.from_state_dict(spec, state_dict).requires_grad_(False).to(self.device)
        self.net = convert(net, precision)
        self.mel = AugmentMelSTFT(hopsize=spec.hop_samples).to(self.device)

    def embed(self, windows: Sequence[Samples]) -> Outputs:
        """Logits and features of windows of any lengths the arch takes.

        Args:
            windows: float32 (n_samples,) each, mono at 32 kHz.

        Returns:
            `Outputs` of float32 arrays with one row a window, in the same order.

        Raises:
            WindowError: a window of a wrong shape, dtype or length.
        """
        for window in windows:
            self._check(window)
        with torch.inference_mode():
            tensors = [_tensor(window) for window in windows]
            logits, features = self._within_memory(
                lambda: embed_packed(tensors, self.net, self.mel, self.max_tokens)
            )
            return Outputs(features.cpu().numpy(), logits.cpu().numpy())

    def embed_timestamps(self, levels: Sequence[Level], stream: Samples, n: int) -> Vectors:
        """HEAR timestamp embeddings (logits, features; raw log-mel) of consecutive moments.

        Args:
            levels: from `models.timestamps.timestamp_levels`.
            stream: float32, from the start of the first moment's longest window to the end of the
                last one's.
            n: moments, `TIMESTAMP_HOP` samples apart.

        Returns:
            float32 (n, `timestamp_size`).

        Raises:
            WindowError: the stream has another length than n moments need.
        """
        needed = (n - 1) * TIMESTAMP_HOP + longest_window(levels)
        if stream.shape != (needed,):
            raise WindowError(f"{n} moments take {needed} samples, got shape {stream.shape}")
        with torch.inference_mode():
            samples = _tensor(stream).to(self.device)[None]
            moments = self._within_memory(
                lambda: embed_moments(
                    samples,
                    levels,
                    lambda windows: torch.cat(self.net(self.mel(windows)), dim=1),
                    self.mel,
                    lambda window: max(1, self.max_tokens // self.spec.n_tokens(window)),
                )
            )
            return moments[0].cpu().numpy()

    def _within_memory(self, compute: Callable[[], T]) -> T:
        """Compute, with smaller batches from then on where the device has no memory for them."""
        while True:
            try:
                return compute()
            except torch.OutOfMemoryError:
                if self.max_tokens <= _FEWEST_TOKENS:
                    raise
            # Outside of `except`, as what the error holds of the failed forward is free here.
            self.max_tokens //= 2
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _check(self, window: Samples) -> None:
        if window.ndim != 1 or window.dtype != np.float32:
            raise WindowError(
                f"a window must be float32 of shape (n_samples,), got {window.dtype} "
                f"of shape {window.shape}"
            )
        check_length(len(window), self.spec)


def _tensor(samples: Samples) -> Tensor:
    # Arrays out of Ray's object store are read-only, which torch does not know how to be.
    return torch.from_numpy(np.require(samples, requirements=["C", "W"]))

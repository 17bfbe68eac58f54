"""Windows of any mix of lengths to logits and features, each as if it were embedded alone.

A patch grid drops the frames after its last whole patch, so windows with the same number of time
patches become one dense batch once each has had its own log-mel: nothing is padded, nothing is
masked, and the result does not depend on the company a window keeps.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.archs import PATCH_SIZE, ArchSpec
from models.errors import WindowError
from models.frontend import LogMel
from models.passt import PaSST

Samples = npt.NDArray[np.float32]


class Outputs(NamedTuple):
    """What a model says of n windows, in the order they were given."""

    features: npt.NDArray[np.float32]
    """(n, 768)"""
    logits: npt.NDArray[np.float32]
    """(n, n_classes), before the sigmoid"""


class Embedder:
    """A PaSST with its front end on one device.

    Args:
        spec: the arch.
        state_dict: its weights, checked by `models.weights`.
        device: torch device.
        batch_tokens: most tokens in one forward. The default is four windows of 10 s at stride
            10, enough to fill a CPU's matrix units; a GPU wants more.
    """

    def __init__(
        self,
        spec: ArchSpec,
        state_dict: Mapping[str, Tensor],
        device: str = "cpu",
        batch_tokens: int = 4 * 1190,
    ) -> None:
        self.spec = spec
        self.device = torch.device(device)
        self.batch_tokens = batch_tokens
        with torch.device("meta"):
            model = PaSST(spec)
        # assign: the tensors become the parameters; there is never a second copy in memory.
        model.load_state_dict(state_dict, strict=True, assign=True)
        self.model = model.eval().requires_grad_(False).to(self.device)
        self.log_mel = LogMel(spec.hop_samples).to(self.device)

    def embed(self, windows: Sequence[Samples]) -> Outputs:
        """Logits and features of windows of any lengths the arch takes.

        Args:
            windows: float32 (n_samples,) each, mono at 32 kHz.

        Returns:
            `Outputs` of float32 arrays with one row a window, in the same order.

        Raises:
            WindowError: a window of a wrong shape, dtype or length.
        """
        features = np.empty((len(windows), self.model.norm.weight.numel()), np.float32)
        logits = np.empty((len(windows), self.spec.n_classes), np.float32)
        with torch.inference_mode():
            for batch in self._batches(windows):
                spectrograms = torch.cat([self._spectrogram(windows[row]) for row in batch])
                batch_logits, batch_features = self.model(spectrograms)
                features[batch] = batch_features.cpu().numpy()
                logits[batch] = batch_logits.cpu().numpy()
        return Outputs(features, logits)

    def _batches(self, windows: Sequence[Samples]) -> Iterator[list[int]]:
        """Row numbers of windows with one count of time patches, at most `batch_tokens` each."""
        rows_by_patches: dict[int, list[int]] = defaultdict(list)
        for row, window in enumerate(windows):
            self._check(window)
            rows_by_patches[self.spec.n_time_patches(len(window))].append(row)
        for n_time_patches in sorted(rows_by_patches, reverse=True):
            rows = rows_by_patches[n_time_patches]
            n_tokens = self.spec.n_tokens(len(windows[rows[0]]))
            size = max(1, self.batch_tokens // n_tokens)
            yield from (rows[i : i + size] for i in range(0, len(rows), size))

    def _spectrogram(self, window: Samples) -> Tensor:
        """Log-mel (1, 128, frames), cut to the frames that its patches cover."""
        n_frames = (self.spec.n_time_patches(len(window)) - 1) * self.spec.stride + PATCH_SIZE
        samples = torch.from_numpy(np.require(window, requirements=["C", "W"]))
        spectrogram: Tensor = self.log_mel(samples.to(self.device).unsqueeze(0))
        return spectrogram[..., :n_frames]

    def _check(self, window: Samples) -> None:
        if window.ndim != 1 or window.dtype != np.float32:
            raise WindowError(
                f"a window must be float32 of shape (n_samples,), got {window.dtype} "
                f"of shape {window.shape}"
            )
        if not self.spec.min_samples <= len(window) <= self.spec.max_samples:
            raise WindowError(
                f"arch {self.spec.name!r} takes windows of {self.spec.min_samples} to "
                f"{self.spec.max_samples} samples at 32 kHz, got {len(window)}"
            )

"""The outputs of a model for a batch of windows, complete or still being computed by a GPU."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.archs import EMBED_DIM

Vectors = npt.NDArray[np.float32]


class Outputs(NamedTuple):
    """Outputs of a model for n windows, in the order of the windows."""

    features: Vectors
    """Features, float32 (n, 768)."""
    logits: Vectors
    """Logits before the sigmoid, float32 (n, n_classes)."""


class PendingOutputs:
    """Outputs that a device may still be computing.

    Args:
        logits: Logits on the device, which may still be computing them, float32 (n, n_classes).
        features: Features on the device, which may still be computing them, float32 (n, 768).
    """

    def __init__(self, logits: Tensor, features: Tensor) -> None:
        self._copied: torch.cuda.Event | None = None
        outputs = torch.cat((features, logits), dim=1)
        if outputs.is_cuda:
            self._outputs = torch.empty(outputs.shape, pin_memory=True)
            self._outputs.copy_(outputs, non_blocking=True)
            self._copied = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            self._copied.record(torch.cuda.current_stream(outputs.device))
        else:
            self._outputs = outputs

    def done(self) -> bool:
        """Return whether `result` would return without waiting."""
        return self._copied is None or bool(
            self._copied.query()  # type: ignore[no-untyped-call]
        )

    def result(self) -> Outputs:
        """Wait for the outputs and return them."""
        if self._copied is not None:
            self._copied.synchronize()
        # Copied, so that the page-locked memory is free for the next batch.
        outputs = self._outputs.numpy()
        return Outputs(outputs[:, :EMBED_DIM].copy(), outputs[:, EMBED_DIM:].copy())

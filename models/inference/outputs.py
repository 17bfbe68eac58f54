"""What a model says of windows, and the promise of it while a GPU is still computing."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.archs import EMBED_DIM

Vectors = npt.NDArray[np.float32]


class Outputs(NamedTuple):
    """What a model says of n windows, in the order they were given."""

    features: Vectors
    """(n, 768)"""
    logits: Vectors
    """(n, n_classes), before the sigmoid"""


class PendingOutputs:
    """Outputs that a device may still be computing.

    Args:
        logits: float32 (n, n_classes), launched.
        features: float32 (n, 768), likewise.
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
        """Whether `result` would return at once."""
        return self._copied is None or bool(
            self._copied.query()  # type: ignore[no-untyped-call]
        )

    def result(self) -> Outputs:
        """The outputs, once they are there."""
        if self._copied is not None:
            self._copied.synchronize()
        # Copied: page-locked memory is not for keeping.
        outputs = self._outputs.numpy()
        return Outputs(outputs[:, :EMBED_DIM].copy(), outputs[:, EMBED_DIM:].copy())

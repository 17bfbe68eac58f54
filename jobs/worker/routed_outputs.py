"""The outputs of windows that were embedded by several routes, in the order of the windows."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from models.archs import EMBED_DIM
from models.inference.outputs import Outputs, PendingOutputs, Vectors


class RouteBatch(NamedTuple):
    """The windows of one route, which the model may still be computing.

    Attributes:
        rows: Indices of the windows among the windows of all routes.
        pending: Outputs of the windows.
        measure: Function that receives their features, (n, dim), to measure fidelity.
    """

    rows: list[int]
    pending: PendingOutputs
    measure: Callable[[Vectors], None]


class RoutedOutputs:
    """The outputs of windows of several routes, as `models.inference.outputs.PendingOutputs`.

    Args:
        batches: Batches of the routes.
        n_windows: Number of windows of all batches.
        n_classes: Number of classes, which is the same for all archs.
    """

    def __init__(self, batches: Sequence[RouteBatch], n_windows: int, n_classes: int) -> None:
        self._batches = batches
        self._shape = n_windows, n_classes

    def done(self) -> bool:
        """Return whether `result` would return at once, apart from measuring fidelity."""
        return all(batch.pending.done() for batch in self._batches)

    def result(self) -> Outputs:
        """Return the features and logits of all windows, in the order of the windows."""
        n_windows, n_classes = self._shape
        features = np.empty((n_windows, EMBED_DIM), np.float32)
        logits = np.empty((n_windows, n_classes), np.float32)
        for rows, pending, measure in self._batches:
            outputs = pending.result()
            features[rows], logits[rows] = outputs
            measure(outputs.features)
        return Outputs(features, logits)

"""Outputs of windows that went several routes, back in their order."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from models.archs import EMBED_DIM
from models.inference.outputs import Outputs, PendingOutputs, Vectors


class BegunBatch(NamedTuple):
    """Windows of one route, under way.

    Attributes:
        rows: their places among all.
        pending: what will be said of them.
        measure: takes their features.
    """

    rows: list[int]
    pending: PendingOutputs
    measure: Callable[[Vectors], None]


class RoutedOutputs:
    """Outputs of windows of several routes; see `models.inference.outputs.Pending`.

    Args:
        begun: the routes.
        n_windows: of all of them.
        n_classes: of the archs.
    """

    def __init__(self, begun: Sequence[BegunBatch], n_windows: int, n_classes: int) -> None:
        self._begun = begun
        self._shape = n_windows, n_classes

    def done(self) -> bool:
        """Whether `result` would return at once, but for the measuring of the fidelity."""
        return all(each.pending.done() for each in self._begun)

    def result(self) -> Outputs:
        """The outputs, in the order of the windows."""
        n_windows, n_classes = self._shape
        features = np.empty((n_windows, EMBED_DIM), np.float32)
        logits = np.empty((n_windows, n_classes), np.float32)
        for rows, pending, measure in self._begun:
            outputs = pending.result()
            features[rows], logits[rows] = outputs
            measure(outputs.features)
        return Outputs(features, logits)

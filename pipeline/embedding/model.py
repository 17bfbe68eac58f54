"""The protocol of a model, as the pipeline uses it; nothing here knows torch."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.samples import Samples

Vectors = npt.NDArray[np.float32]


class ModelOutputs(Protocol):
    """Outputs of a model for n windows."""

    @property
    def features(self) -> Vectors:
        """Embeddings, float32 (n, embedding_dim)."""
        ...

    @property
    def logits(self) -> Vectors:
        """Logits before the sigmoid, float32 (n, n_classes)."""
        ...


class PendingOutputs(Protocol):
    """Outputs of a batch that the model may still be computing."""

    def done(self) -> bool:
        """Return whether `result` would return at once."""
        ...

    def result(self) -> ModelOutputs:
        """Wait for the outputs and return them."""
        ...


class CompletedOutputs:
    """Outputs of a model that computes synchronously.

    Args:
        outputs: The outputs.
    """

    def __init__(self, outputs: ModelOutputs) -> None:
        self._outputs = outputs

    def done(self) -> bool:
        """Return True."""
        return True

    def result(self) -> ModelOutputs:
        """Return the outputs."""
        return self._outputs


class Model(Protocol):
    """A model that embeds the windows and timestamps of a table."""

    @property
    def fidelity(self) -> Mapping[str, Any] | None:
        """Distance from the same model in fp32, for JSON.

        None in fp32, and before the first windows.
        """
        ...

    def embed(self, windows: Sequence[Samples]) -> ModelOutputs:
        """Embed float32 windows of any mix of lengths at 32 kHz, in order."""
        ...

    def top_labels(self, logits: Vectors, k: int) -> Sequence[Sequence[tuple[int, str, float]]]:
        """Return the k most probable classes of each row: index, name and probability.

        Args:
            logits: Float32 (n, n_classes).
            k: Number of classes, at most n_classes.
        """
        ...

    def embed_timestamps(self, stream: Samples, n: int) -> Vectors:
        """Embed n consecutive timestamps.

        Args:
            stream: Float32 samples, from the start of the first timestamp's longest window to the
                end of the last one's.
            n: Number of timestamps.

        Returns:
            Float32 (n, timestamp_dim).
        """
        ...


class AsyncModel(Model, Protocol):
    """A model that returns from `begin` while it is still computing."""

    @property
    def warm_up(self) -> Mapping[str, Any] | None:
        """Report of the warm-up before the first window, for JSON; None without a warm-up."""
        ...

    @property
    def batch_samples(self) -> int:
        """Number of samples that fill a batch; larger batches are not faster."""
        ...

    def begin(self, windows: Sequence[Samples]) -> PendingOutputs:
        """Begin to embed windows; the model may still be computing when this returns."""
        ...

"""What the pipeline needs of a model, as a protocol: nothing here knows torch."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.audio import Samples

Vectors = npt.NDArray[np.float32]


class ModelOutputs(Protocol):
    """What a model says of n windows."""

    @property
    def features(self) -> Vectors:
        """Float32 (n, embedding_dim)."""
        ...

    @property
    def logits(self) -> Vectors:
        """Float32 (n, n_classes)."""
        ...


class PendingOutputs(Protocol):
    """What a model will say of windows that it is at."""

    def done(self) -> bool:
        """Whether `result` would return at once."""
        ...

    def result(self) -> ModelOutputs:
        """The outputs, once they are there."""
        ...


class CompletedOutputs:
    """What a model that computes at once has said.

    Args:
        outputs: of its windows.
    """

    def __init__(self, outputs: ModelOutputs) -> None:
        self._outputs = outputs

    def done(self) -> bool:
        """Yes."""
        return True

    def result(self) -> ModelOutputs:
        """The outputs."""
        return self._outputs


class Model(Protocol):
    """Embeds the windows and timestamps of a table."""

    @property
    def fidelity(self) -> Mapping[str, Any] | None:
        """How far it is from the same model in fp32, for JSON.

        None in fp32, and as long as it has seen no windows.
        """
        ...

    def embed(self, windows: Sequence[Samples]) -> ModelOutputs:
        """Embed float32 windows of any mix of lengths at 32 kHz, in order."""
        ...

    def top_labels(self, logits: Vectors, k: int) -> Sequence[Sequence[tuple[int, str, float]]]:
        """The k most probable classes of each row of logits: index, name and probability.

        Args:
            logits: float32 (n, n_classes).
            k: how many, at most n_classes.
        """
        ...

    def embed_timestamps(self, stream: Samples, n: int) -> Vectors:
        """Embed n consecutive timestamps.

        Args:
            stream: float32 samples, from the start of the first one's longest window to the end of
                the last one's.
            n: how many.

        Returns:
            Float32 (n, timestamp_dim).
        """
        ...


class AsyncModel(Model, Protocol):
    """A model whose caller may go on while it computes."""

    @property
    def warm_up(self) -> Mapping[str, Any] | None:
        """What it did before its first window, for JSON; None where there was nothing to do."""
        ...

    @property
    def batch_samples(self) -> int:
        """Samples of the windows that fill a batch; more at a time are not faster."""
        ...

    def begin(self, windows: Sequence[Samples]) -> PendingOutputs:
        """`embed`, which may still be going on when this returns."""
        ...

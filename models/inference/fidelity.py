"""The distance of embeddings in a reduced precision from those of the same model in fp32.

A run measures it on its own windows, because it depends on the weights and on the audio: the loss
of int8 on random weights does not predict the loss on trained weights. Cosine similarities are what
a search uses. The largest difference shows a single value that is far off.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


class Fidelity(NamedTuple):
    """Result of comparing embeddings with those of fp32.

    Attributes:
        windows: Number of embeddings compared.
        cosine_min: Smallest cosine similarity of an embedding with its fp32 counterpart.
        cosine_mean: Mean cosine similarity.
        max_abs: Largest absolute difference of a single value.
    """

    windows: int
    cosine_min: float
    cosine_mean: float
    max_abs: float


def compare(embeddings: Vectors, reference: Vectors) -> Fidelity:
    """Compare embeddings with those of fp32.

    An embedding that is not finite has cosine 0, and its differences are not counted.

    Args:
        embeddings: Embeddings in the precision to measure, float32 (n, width); n is at least 1.
        reference: Embeddings of the same windows in fp32, float32 (n, width).
    """
    ours, theirs = embeddings.astype(np.float64), reference.astype(np.float64)
    is_finite = np.isfinite(ours).all(axis=1, keepdims=True)
    ours = np.where(is_finite, ours, 0)
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    products = (ours * theirs).sum(axis=1)
    cosines = np.divide(products, norms, out=np.zeros(len(ours)), where=norms > 0)
    differences = np.abs(ours - theirs) * is_finite
    return Fidelity(
        windows=len(ours),
        cosine_min=float(cosines.min()),
        cosine_mean=float(cosines.mean()),
        max_abs=float(differences.max(initial=0)),
    )


def combine(parts: Sequence[Fidelity]) -> Fidelity:
    """Combine several comparisons into one: extremes over all, and the mean over all windows."""
    windows = sum(part.windows for part in parts)
    return Fidelity(
        windows=windows,
        cosine_min=min(part.cosine_min for part in parts),
        cosine_mean=sum(part.cosine_mean * part.windows for part in parts) / windows,
        max_abs=max(part.max_abs for part in parts),
    )

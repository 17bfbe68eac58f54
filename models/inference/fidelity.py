"""How far embeddings of a lower precision are from those of the same model in fp32.

Measured on a run's own windows, because it depends on weights and sounds: what int8 costs on random
weights says nothing of trained ones. Cosines are what a search sees; the largest difference shows a
single value that went astray.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


class Fidelity(NamedTuple):
    """What a comparison of n embeddings found."""

    windows: int
    cosine_min: float
    cosine_mean: float
    max_abs: float


def compare(embeddings: Vectors, reference: Vectors) -> Fidelity:
    """Compare embeddings with those of fp32.

    Args:
        embeddings: float32 (n, width), n at least 1.
        reference: the same of fp32.

    Returns:
        Cosines and differences. An embedding that is not finite counts as cosine 0, and as no
        difference.
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


def combined(parts: Sequence[Fidelity]) -> Fidelity:
    """Several comparisons as one: the worst of each, and the mean over all windows."""
    windows = sum(part.windows for part in parts)
    return Fidelity(
        windows=windows,
        cosine_min=min(part.cosine_min for part in parts),
        cosine_mean=sum(part.cosine_mean * part.windows for part in parts) / windows,
        max_abs=max(part.max_abs for part in parts),
    )

"""Logits to the most probable classes, each with its name.

AudioSet's classes do not exclude one another: a probability is the sigmoid of its logit, and those
of a clip do not sum to one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.model import Vectors


def top_labels(logits: Vectors, k: int, names: Sequence[str]) -> list[dict[str, Any]]:
    """The k most probable classes, most probable first; of equals the lower index first.

    Args:
        logits: float32 (n_classes,), before the sigmoid.
        k: how many, at most n_classes.
        names: of the classes, in the order of the logits.
    """
    # By logit: of large ones the probabilities are all 1.
    best = np.argsort(-logits, kind="stable")[:k]
    probabilities = np.exp(-np.logaddexp(0, -logits[best].astype(np.float64)))
    return [
        {"index": int(i), "name": names[i], "probability": float(p)}
        for i, p in zip(best, probabilities, strict=True)
    ]

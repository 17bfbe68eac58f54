"""Class names of the head's outputs, and the most probable classes for given logits.

The tables in `models/data` list the classes in the order that the checkpoints were trained with:
AudioSet's `class_labels_indices.csv`, FSD50K's `vocabulary.csv`, OpenMIC-2018's `class-map.json`.
Names are spelled as in the data sets; FSD50K's contain underscores. The tasks are multi-label:
each probability is a sigmoid of one logit, so probabilities do not sum to one.
"""

import csv
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.errors import ModelError

CLASS_SETS = ("audioset", "openmic", "fsd50k")


class Label(NamedTuple):
    """A class with its predicted probability.

    Attributes:
        index: Index of the head's output.
        name: Name of the class in its data set.
        probability: Sigmoid of the class's logit, 0 to 1.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which labels have no use for
    name: str
    probability: float


@cache
def class_names(classes: str) -> tuple[str, ...]:
    """Return the names of a data set's classes, in the order of the head's outputs.

    Args:
        classes: Name of the data set as in `ArchSpec.classes`: `audioset`, `openmic` or `fsd50k`.

    Raises:
        ModelError: The data set is unknown.
    """
    if classes not in CLASS_SETS:
        raise ModelError(f"classes must be one of {', '.join(CLASS_SETS)} (got {classes!r})")
    table = resources.files("models").joinpath("data", f"{classes}.csv").read_text("utf-8")
    return tuple(row["name"] for row in csv.DictReader(table.splitlines()))


def top_labels(logits: npt.NDArray[np.float32], names: Sequence[str], k: int) -> list[list[Label]]:
    """Return the `k` most probable classes of each row, the most probable first.

    Equal logits are ordered by their index.

    Args:
        logits: Logits before the sigmoid, (n, n_classes).
        names: Class names in the order of the columns.
        k: Number of classes per row; all classes are returned if there are fewer.

    Raises:
        ModelError: `k` is below 1, or the logits do not have one column per name.
    """
    if k < 1:
        raise ModelError(f"the number of labels must be at least 1 (got {k})")
    if logits.ndim != 2 or logits.shape[1] != len(names):
        raise ModelError(
            f"logits must be of shape (n, {len(names)}), one column per name (got {logits.shape})"
        )
    # Sort by logit, not by probability: the sigmoids of large logits all round to 1.0.
    order = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    chosen = np.take_along_axis(logits, order, axis=1).astype(np.float64)
    probabilities = np.exp(-np.logaddexp(0.0, -chosen))
    return [
        [Label(int(i), names[i], float(p)) for i, p in zip(indices, row, strict=True)]
        for indices, row in zip(order, probabilities, strict=True)
    ]

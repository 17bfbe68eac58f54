"""What the head's outputs stand for: logits to the names of the most probable classes.

The tables below `models/data` hold the classes in the order that the checkpoints were trained with:
AudioSet's `class_labels_indices.csv`, FSD50K's `vocabulary.csv`, OpenMIC-2018's `class-map.json`.
Names are those of the data sets, so FSD50K's keep their underscores. The tasks are multi-label:
probabilities are sigmoids, each for itself, and do not add up to one.
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
    """One class, and how probable it is.

    Attributes:
        index: of the head's output.
        name: in the words of its data set.
        probability: sigmoid of the logit.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which no one asks of a label
    name: str
    probability: float


@cache
def class_names(classes: str) -> tuple[str, ...]:
    """Names of the classes, by the index of the head's output.

    Args:
        classes: `audioset`, `openmic` or `fsd50k`, as in `ArchSpec.classes`.

    Raises:
        ModelError: no such set of classes.
    """
    if classes not in CLASS_SETS:
        raise ModelError(f"classes must be one of {', '.join(CLASS_SETS)} (got {classes!r})")
    table = resources.files("models").joinpath("data", f"{classes}.csv").read_text("utf-8")
    return tuple(row["name"] for row in csv.DictReader(table.splitlines()))


def top_labels(logits: npt.NDArray[np.float32], names: Sequence[str], k: int) -> list[list[Label]]:
    """The `k` most probable classes of each row, most probable first, ties by the lower index.

    Args:
        logits: (n, n_classes), before the sigmoid.
        names: of the classes, in the order of the columns.
        k: how many; all of them where there are fewer.

    Raises:
        ModelError: `k` is below 1, or the logits are not one column a name.
    """
    if k < 1:
        raise ModelError(f"the number of labels must be at least 1 (got {k})")
    if logits.ndim != 2 or logits.shape[1] != len(names):
        raise ModelError(
            f"logits must be (n, {len(names)}), a column for each name (got {logits.shape})"
        )
    # By logits, because the sigmoids of large ones round to the same 1.0.
    order = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    chosen = np.take_along_axis(logits, order, axis=1).astype(np.float64)
    probabilities = np.exp(-np.logaddexp(0.0, -chosen))
    return [
        [Label(int(i), names[i], float(p)) for i, p in zip(indices, row, strict=True)]
        for indices, row in zip(order, probabilities, strict=True)
    ]

"""`pipeline.labels`: the most probable classes, in order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.labels import top_labels

NAMES = [f"class {i}" for i in range(527)]
logits = arrays(np.float32, st.integers(1, 60), elements=st.floats(-120, 120, width=32))


def test_labels_have_index_name_and_probability():
    (first, second) = top_labels(np.array([0, 2, -1], np.float32), 2, ["a", "b", "c"])
    assert first == {"index": 1, "name": "b", "probability": pytest.approx(0.880797, rel=1e-6)}
    assert second == {"index": 0, "name": "a", "probability": 0.5}


@given(logits, st.data())
def test_labels_are_the_head_of_all_classes_sorted(values, data):
    k = data.draw(st.integers(1, len(values)))
    probabilities = 1 / (1 + np.exp(-values.astype(np.float64)))
    ordered = sorted(range(len(values)), key=lambda i: (-values[i], i))
    found = top_labels(values, k, NAMES)
    assert [label["index"] for label in found] == ordered[:k]
    assert [label["name"] for label in found] == [NAMES[i] for i in ordered[:k]]
    for label in found:
        assert label["probability"] == pytest.approx(probabilities[label["index"]], rel=1e-6)


def test_of_equals_the_lower_index_comes_first():
    found = top_labels(np.array([1, 3, 3, 1, 3], np.float32), 5, NAMES)
    assert [label["index"] for label in found] == [1, 2, 4, 0, 3]


def test_logits_too_large_for_their_probabilities_keep_their_order():
    found = top_labels(np.array([-1e30, 80, 90, -200, 1e30], np.float32), 5, NAMES)
    assert [label["index"] for label in found] == [4, 2, 1, 3, 0]
    assert [label["probability"] for label in found[:3]] == [1, 1, 1]

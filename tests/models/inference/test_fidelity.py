"""Tests of comparing embeddings with those of fp32."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.inference.fidelity import combine, compare


@pytest.fixture(scope="module")
def reference():
    return np.random.default_rng(0).normal(size=(5, 768)).astype(np.float32)


def test_equal_embeddings_have_cosine_1_and_no_difference(reference):
    found = compare(reference, reference)
    assert found.windows == 5
    assert found.cosine_min == pytest.approx(1)
    assert found.cosine_mean == pytest.approx(1)
    assert found.max_abs == 0


def test_cosines_and_differences_match_their_definitions():
    ours = np.array([[1, 0], [1, 1]], np.float32)
    theirs = np.array([[2, 0], [1, 0]], np.float32)
    found = compare(ours, theirs)
    assert found.cosine_min == pytest.approx(2**-0.5)
    assert found.cosine_mean == pytest.approx((1 + 2**-0.5) / 2)
    assert found.max_abs == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embedding_that_is_not_finite_has_cosine_0(reference, value):
    broken = reference.copy()
    broken[2, 5] = value
    found = compare(broken, reference)
    assert (found.cosine_min, found.max_abs) == (0, 0)
    assert found.cosine_mean == pytest.approx(4 / 5)


def test_zero_vectors_have_cosine_0():
    zeros = np.zeros((2, 3), np.float32)
    assert compare(zeros, zeros)[1:] == (0, 0, 0)


@given(st.integers(1, 4))
def test_combined_parts_equal_the_whole(reference, cut):
    ours = reference + np.float32(0.1) * reference[::-1]
    parts = [compare(ours[:cut], reference[:cut]), compare(ours[cut:], reference[cut:])]
    assert combine(parts) == pytest.approx(compare(ours, reference))

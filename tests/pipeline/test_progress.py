"""Tests of `pipeline.progress`."""

from collections import Counter

from pipeline.progress import Counts


def test_counts_add_up():
    total = Counts(1, 2, 0.5, Counter(missing=1))
    total.add(Counts(10, 20, 5.0, Counter(missing=2, empty=3)))
    assert total == Counts(11, 22, 5.5, Counter(missing=3, empty=3))

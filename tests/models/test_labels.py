"""Tests of the class tables and of labels from logits."""

import csv
import math
import tomllib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from models.archs import ARCHS
from models.errors import ModelError
from models.labels import CLASS_SETS, class_names, top_labels

ROOT = Path(__file__).parents[2]


def read_rows(classes: str) -> list[dict[str, str]]:
    table = resources.files("models").joinpath("data", f"{classes}.csv")
    return list(csv.DictReader(table.read_text("utf-8").splitlines()))


@pytest.mark.parametrize("spec", ARCHS.values(), ids=ARCHS)
def test_every_output_of_every_head_has_a_name(spec):
    assert len(class_names(spec.classes)) == spec.n_classes


@pytest.mark.parametrize("classes", CLASS_SETS)
def test_indices_are_consecutive_and_values_are_unique(classes):
    rows = read_rows(classes)
    assert [int(row["index"]) for row in rows] == list(range(len(rows)))
    for column in set(rows[0]) - {"index"}:
        assert len({row[column] for row in rows}) == len(rows)
        assert all(row[column] == row[column].strip() != "" for row in rows)


@pytest.mark.parametrize("classes", ["audioset", "fsd50k"])
def test_mids_have_the_prefixes_of_the_ontology(classes):
    assert all(row["mid"].startswith(("/m/", "/t/dd", "/g/")) for row in read_rows(classes))


@pytest.mark.parametrize(
    ("classes", "index", "name"),
    [
        ("audioset", 0, "Speech"),
        ("audioset", 1, "Male speech, man speaking"),
        ("audioset", 72, "Animal"),
        ("audioset", 74, "Dog"),
        ("audioset", 137, "Music"),
        ("audioset", 300, "Vehicle"),
        ("audioset", 388, "Alarm"),
        ("audioset", 427, "Gunshot, gunfire"),
        ("audioset", 500, "Silence"),
        ("audioset", 526, "Field recording"),
        ("openmic", 0, "accordion"),
        ("openmic", 9, "mallet_percussion"),
        ("openmic", 19, "voice"),
        ("fsd50k", 0, "Accelerating_and_revving_and_vroom"),
        ("fsd50k", 53, "Crushing"),
        ("fsd50k", 69, "Electric_guitar"),
        ("fsd50k", 120, "Music"),
        ("fsd50k", 199, "Zipper_(clothing)"),
    ],
)
def test_well_known_classes_have_their_index(classes, index, name):
    assert class_names(classes)[index] == name


@pytest.mark.parametrize("classes", ["openmic", "fsd50k"])
def test_openmic_and_fsd50k_classes_are_in_alphabetical_order(classes):
    """The reference's data preparation relies on the order of FSD50K."""
    assert list(class_names(classes)) == sorted(class_names(classes))


def test_fsd50k_and_audioset_give_a_mid_the_same_name():
    audioset = {row["mid"]: row["name"] for row in read_rows("audioset")}
    shared = [row for row in read_rows("fsd50k") if row["mid"] in audioset]
    assert len(shared) == 192  # the other eight mids are in the ontology but not in AudioSet
    for row in shared:
        ours, theirs = row["name"].split("_"), audioset[row["mid"]].replace(",", "").split()
        assert [w for w in ours if w != "and"] == [w for w in theirs if w != "and"]


def test_unknown_classes_raise_an_error_that_names_them():
    with pytest.raises(ModelError, match=r"one of audioset, openmic, fsd50k \(got 'esc50'\)"):
        class_names("esc50")


def test_the_package_contains_the_class_tables():
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packed = {
        path.name
        for pattern in setup["package-data"]["models"]
        for path in (ROOT / "models").glob(pattern)
    }
    assert {f"{classes}.csv" for classes in CLASS_SETS} <= packed


def test_the_most_probable_classes_come_first():
    logits = np.array([[0.0, 2.0, -1.0], [math.log(3), -50.0, 50.0]], np.float32)
    first, second = top_labels(logits, ("a", "b", "c"), 2)
    assert [label[:2] for label in first] == [(1, "b"), (0, "a")]
    assert first[1].probability == 0.5
    assert [label.name for label in second] == ["c", "a"]
    assert second[1].probability == pytest.approx(0.75)


def test_ties_go_to_the_lower_index():
    labels = top_labels(np.zeros((1, 4), np.float32), "abcd", 3)[0]
    assert [label.index for label in labels] == [0, 1, 2]


def test_saturated_probabilities_keep_the_order_of_their_logits():
    labels = top_labels(np.array([[80.0, 90.0]], np.float32), "ab", 2)[0]
    assert [label.index for label in labels] == [1, 0]
    assert [label.probability for label in labels] == [1.0, 1.0]


LOGITS = st_numpy.arrays(
    np.float32,
    st.tuples(st.integers(0, 4), st.just(20)),
    elements=st.floats(-(2.0**100), 2.0**100, width=32),
)


@given(LOGITS, st.integers(1, 40))
def test_labels_are_those_of_the_largest_logits(logits, k):
    names = class_names("openmic")
    for row, labels in zip(logits, top_labels(logits, names, k), strict=True):
        assert len(labels) == min(k, 20)
        assert [row[label.index] for label in labels] == sorted(row, reverse=True)[:k]
        assert all(0 <= label.probability <= 1 for label in labels)
        assert all(names[label.index] == label.name for label in labels)


@pytest.mark.parametrize("k", [0, -1])
def test_fewer_than_one_label_is_refused(k):
    with pytest.raises(ModelError, match=rf"at least 1 \(got {k}\)"):
        top_labels(np.zeros((1, 2), np.float32), "ab", k)


@pytest.mark.parametrize("shape", [(3,), (1, 4), (1, 1, 3)])
def test_logits_of_another_width_are_refused(shape):
    with pytest.raises(
        ModelError, match=r"must be of shape \(n, 3\), one column per name \(got \("
    ):
        top_labels(np.zeros(shape, np.float32), "abc", 1)

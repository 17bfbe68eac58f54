"""Tests of the validators in `jobs.settings.parsing`: lists, pairs, mappings and sizes."""

import pytest

from jobs.settings.parsing import (
    as_bytes,
    as_names,
    as_pairs,
    join_names,
    prepend_name,
    split_commas,
)


@pytest.mark.parametrize(
    ("text", "parts"),
    [("", ()), ("a", ("a",)), (" a, b ,c", ("a", "b", "c")), ("a,,b", ("a", "", "b"))],
)
def test_text_is_split_at_commas(text, parts):
    assert split_commas(text) == as_names(text) == parts


@pytest.mark.parametrize("value", [["a,b"], ("a",), None, 5])
def test_value_that_is_not_text_is_left_to_pydantic(value):
    assert as_names(value) is value


def test_pairs_come_from_a_text_or_from_a_mapping_with_values_as_json():
    assert as_pairs("anon=true") == ("anon=true",)
    assert as_pairs({"anon": True, "key": "a"}) == ("anon=true", 'key="a"')
    assert as_pairs({"client_kwargs": {"x": 1}}) == ('client_kwargs={"x": 1}',)
    assert as_pairs(given := ["a=1", "b=2"]) is given


def test_required_name_comes_first_without_duplicates():
    assert prepend_name("clips")(("windows", "clips", "windows")) == ("clips", "windows")
    assert prepend_name("clips")(()) == ("clips",)


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("1000000", 10**6),
        ("1e9", 10**9),
        ("2GiB", 2 << 30),
        ("1.5 GB", 1_500_000_000),
        ("64m", 64_000_000),
        ("512 KiB", 512 << 10),
        (2048, 2048),
    ],
)
def test_size_is_converted_to_bytes(text, n_bytes):
    assert as_bytes(text) == n_bytes


@pytest.mark.parametrize("text", ["", "GiB", "2 parsecs", "1.2.3MB", "-1GB"])
def test_text_that_is_not_a_size_is_refused(text):
    with pytest.raises(ValueError, match="must be a size, as 2GiB"):
        as_bytes(text)


def test_names_of_a_repeated_option_are_joined():
    assert join_names(["a,b", "c", ""]) == ["a", "b", "c"]
    assert join_names([""]) == []
    assert join_names([]) is join_names(None) is None

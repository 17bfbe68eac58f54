"""`jobs.values`: texts with commas, pairs and mappings."""

import pytest

from jobs.values import as_names, as_pairs, split_commas, with_always


@pytest.mark.parametrize(
    ("text", "parts"),
    [("", ()), ("a", ("a",)), (" a, b ,c", ("a", "b", "c")), ("a,,b", ("a", "", "b"))],
)
def test_texts_are_split_at_commas(text, parts):
    assert split_commas(text) == as_names(text) == parts


@pytest.mark.parametrize("value", [["a,b"], ("a",), None, 5])
def test_what_is_no_text_stays_for_pydantic_to_judge(value):
    assert as_names(value) is value


def test_pairs_are_one_text_or_a_mapping_whose_values_become_json():
    assert as_pairs("anon=true") == ("anon=true",)
    assert as_pairs({"anon": True, "key": "a"}) == ("anon=true", 'key="a"')
    assert as_pairs({"client_kwargs": {"x": 1}}) == ('client_kwargs={"x": 1}',)
    assert as_pairs(given := ["a=1", "b=2"]) is given


def test_what_is_always_there_comes_first_and_nothing_twice():
    assert with_always("clips")(("windows", "clips", "windows")) == ("clips", "windows")
    assert with_always("clips")(()) == ("clips",)

"""Tests of `pipeline.sources.braces`: names with braces are expanded."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.sources.braces import expand_braces

plain = st.text("abc/.-*[", max_size=5)
numbers = st.integers(0, 300)
ranges = st.tuples(numbers, numbers, st.integers(1, 4))
lists = st.lists(plain, min_size=2, max_size=4)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("a{0..2}", ["a0", "a1", "a2"]),
        ("a{08..11}", ["a08", "a09", "a10", "a11"]),
        ("a{8..011}", ["a008", "a009", "a010", "a011"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{train,test}-{0..1}.tar", ["train-0.tar", "train-1.tar", "test-0.tar", "test-1.tar"]),
        ("{a,b{0..1}}", ["a", "b0", "b1"]),
        ("{a,}x", ["ax", "x"]),
        # Braces that are neither a range nor a list are literal.
        ("{}{a}{1..}{a..b}", ["{}{a}{1..}{a..b}"]),
        ("}{0..1", ["}{0..1"]),
        ("{x{0..1}}", ["{x0}", "{x1}"]),
    ],
)
def test_ranges_and_lists_are_expanded_and_other_braces_are_literal(pattern, names):
    assert expand_braces(pattern) == names


@given(st.lists(st.one_of(plain, ranges, lists), max_size=3))
def test_every_combination_is_returned_in_order(parts):
    """Each part is a text, a range as (first, last, minimum width), or a list."""
    pattern, choices = "", []
    for part in parts:
        if isinstance(part, str):
            pattern += part
            choices.append([part])
        elif isinstance(part, list):
            pattern += "{" + ",".join(part) + "}"
            choices.append(part)
        else:
            first, last, width = part
            width = max(width, len(str(first)), len(str(last)))
            step = 1 if first <= last else -1
            pattern += f"{{{first:0{width}}..{last:0{width}}}}"
            choices.append([f"{n:0{width}}" for n in range(first, last + step, step)])
    if len(list(itertools.islice(itertools.product(*choices), 50_001))) <= 50_000:
        assert expand_braces(pattern) == ["".join(each) for each in itertools.product(*choices)]


@given(st.text("{},.0123a", max_size=20))
def test_any_text_stands_for_at_least_one_name(pattern):
    assert expand_braces(pattern)


def test_more_than_a_million_names_are_refused():
    with pytest.raises(UsageError, match="more than 1,000,000 names"):
        expand_braces("{0..999999999}.tar")

"""Tests of `pipeline.wording`: numbers and names in messages."""

import pytest

from pipeline.wording import count, duration_text, nearest_name, unknown_name


@pytest.mark.parametrize(
    ("n", "shown"),
    [(0, "0 clips"), (1, "1 clip"), (1.2, "1 clip"), (2, "2 clips"), (1234567, "1,234,567 clips")],
)
def test_count_uses_singular_or_plural(n, shown):
    assert count(n, "clip") == shown


def test_count_uses_an_irregular_plural():
    assert count(2, "is", "are") == "2 are"


def test_mistyped_name_gets_the_closest_known_name():
    known = ("undecodable", "too_short", "truncated")
    assert nearest_name("undecodeable", known) == "undecodable"
    assert nearest_name("TOO-SHORT", known) == "too_short"
    assert nearest_name("quux", known) == ""
    message = unknown_name("class", "tooshort", known, "classes")
    assert message.startswith(
        "unknown class 'tooshort'; did you mean 'too_short'? The classes are: "
    )
    assert unknown_name("arch", "quux", "ab") == "unknown arch 'quux'; the archs are: a, b"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 01 s"), (3723, "1 h 02 min")]
)
def test_duration_is_in_minutes_or_hours_where_it_is_long(seconds, shown):
    assert duration_text(seconds) == shown

"""`pipeline.apple_double`: which files are metadata of macOS, by path and by first bytes."""

import pytest

from pipeline.apple_double import is_apple_double, may_be_apple_double


@pytest.mark.parametrize(
    ("path", "may_be"),
    [
        ("._x.wav", True),
        ("a/b/._x.wav", True),
        ("__MACOSX/a/x.wav", True),
        (".Trashes/501/x.wav", True),
        ("x.wav", False),
        ("a._x/x.wav", False),
        ("__MACOSX.wav", False),
    ],
)
def test_names_that_are_worth_a_look(path, may_be):
    assert may_be_apple_double(path) is may_be


def test_first_bytes_decide():
    assert is_apple_double(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ")
    assert not is_apple_double(b"RIFF")
    assert not is_apple_double(b"\x00\x05\x16")

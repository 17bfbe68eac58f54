"""Tests of `pipeline.printable`: escapes of control characters."""

import pytest

from pipeline.printable import escape_control


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Vögel, 鳥, 🐦.wav", "Vögel, 鳥, 🐦.wav"),
        ("no\u00a0break and\u3000wide spaces", "no\u00a0break and\u3000wide spaces"),
        ("\x1b]0;title\x07\x1b[2Jgone.wav", "\\x1b]0;title\\x07\\x1b[2Jgone.wav"),
        ("two\nlines\r\tand a tab", "two\\nlines\\r\\tand a tab"),
        ("\x7f\x9b31m", "\\x7f\\x9b31m"),
        ("gpj\u202e.wav\u2028", "gpj\\u202e.wav\\u2028"),
        ("bytes \udcff", "bytes \\udcff"),
    ],
)
def test_control_characters_are_shown_as_escapes(text, shown):
    assert escape_control(text) == shown
    shown.encode()  # raises if it could not be written to a terminal

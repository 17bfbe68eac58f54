"""`pipeline.readers.apple_double`: which files are metadata of macOS, by their first bytes."""

from pipeline.readers.apple_double import is_apple_double


def test_first_bytes_decide():
    assert is_apple_double(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ")
    assert not is_apple_double(b"RIFF")
    assert not is_apple_double(b"\x00\x05\x16")

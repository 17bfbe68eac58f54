"""AppleDouble files: what macOS writes beside a file on a disk that has no place for its metadata.

They are named after the file, `._x.wav` beside `x.wav`, so that they pass for audio by name. A
recording may have such a name too, so the first bytes decide.
"""

APPLE_DOUBLE = b"\x00\x05\x16\x07"
"""First bytes of an AppleDouble file."""
APPLE_DOUBLE_KIND = "._ (metadata of macOS)"
"""What such files are counted as among those that are passed over."""


def is_apple_double(first_bytes: bytes) -> bool:
    """Whether a file is AppleDouble.

    Args:
        first_bytes: At least the first four bytes of the file.
    """
    return first_bytes.startswith(APPLE_DOUBLE)

"""AppleDouble files, which macOS writes beside a file on disks that cannot hold its metadata.

They are named after the file, `._x.wav` beside `x.wav`, so by name they look like audio. A
recording may have such a name too, so the first bytes decide.
"""

APPLE_DOUBLE = b"\x00\x05\x16\x07"
"""First bytes of an AppleDouble file."""
APPLE_DOUBLE_KIND = "._ (metadata of macOS)"
"""Name under which skipped AppleDouble files are counted."""


def is_apple_double(first_bytes: bytes) -> bool:
    """Return whether a file is an AppleDouble file.

    Args:
        first_bytes: At least the first four bytes of the file.
    """
    return first_bytes.startswith(APPLE_DOUBLE)

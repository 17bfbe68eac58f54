"""The text of manifests and lists: unpacked, and in UTF-8.

A byte order mark settles the encoding. Without one a text is UTF-8, or it is refused by the name of
the encoding that it seems to have: a guess could give recordings other names.
"""

import codecs
import gzip
import io
import zlib

from pipeline.errors import UsageError

MOST_BYTES = 2 << 30
"""Most bytes that a compressed manifest may unpack to."""
_MARKS = (  # the longer ones first: that of UTF-32 begins as that of UTF-16 does
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOKED_AT = 1024


def unpacked(name: str, content: bytes) -> bytes:
    """Return what a gzip file holds.

    Args:
        name: Name of the manifest, for messages.
        content: Bytes of the file.

    Raises:
        UsageError: It is damaged, or unpacks to too much.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            found = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"manifest {name!r} cannot be unpacked as gzip: {error}") from error
    if len(found) > MOST_BYTES:
        raise UsageError(
            f"manifest {name!r}: unpacks to more than {MOST_BYTES >> 30} GiB; divide it"
        )
    return found


def as_utf8(what: str, content: bytes) -> bytes:
    """Return a text in UTF-8, without a byte order mark.

    Bytes that are not UTF-8 stay: where they lie, `not_utf8` says.

    Args:
        what: What the text is, for messages.
        content: The text in any encoding.

    Raises:
        UsageError: It has no byte order mark and seems to be UTF-16, or its mark is wrong.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            try:
                return content.decode(encoding).encode()
            except UnicodeError as error:
                raise UsageError(
                    f"{what}: begins as {encoding.upper()} and is damaged ({error})"
                ) from error
    if is_utf16(content):
        raise UsageError(
            f"{what}: seems to be UTF-16 without a byte order mark; save it as UTF-8, as by "
            "iconv -f UTF-16LE -t UTF-8"
        )
    return content.removeprefix(codecs.BOM_UTF8)


def is_text(name: str) -> bool:
    """Return whether UTF-8 can write a name; it cannot where its bytes were no text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_utf16(content: bytes) -> bool:
    """Return whether a text without a byte order mark looks like UTF-16."""
    start = content[:_LOOKED_AT]
    odd, even = start[1::2], start[::2]
    return any(
        half and half.count(0) > 0.7 * len(half) and not other.count(0)
        for half, other in ((odd, even), (even, odd))
    )


def not_utf8(where: str, line: bytes) -> str:
    """Return a sentence on a line that is not UTF-8.

    Args:
        where: The manifest and its line, for people.
        line: The bytes of it.
    """
    at = next((byte for byte in line if byte >= 0x80), 0)
    return (
        f"{where}: is not UTF-8 (byte 0x{at:02x}), Latin-1 or Windows-1252 perhaps; save the file "
        "as UTF-8, as by iconv -f WINDOWS-1252 -t UTF-8"
    )

"""Decompresses the text of manifests and lists, and converts it to UTF-8.

A byte order mark determines the encoding. A text without it must be UTF-8. Another encoding is
refused with a message that names it: a wrong guess could change the names of recordings.
"""

import codecs
import gzip
import io
import zlib

from pipeline.errors import UsageError

MAX_UNPACKED_BYTES = 2 << 30
"""Maximum size of a compressed manifest after decompression, in bytes."""
_BYTE_ORDER_MARKS = (  # UTF-32 comes first, as its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PROBED_BYTES = 1024
"""Bytes at the start of a text that show whether it is UTF-16."""


def decompress(name: str, content: bytes) -> bytes:
    """Decompress a manifest that is compressed with gzip.

    Args:
        name: Name of the manifest, for messages.
        content: Bytes of the gzip file.

    Raises:
        UsageError: The file is damaged, or its content exceeds `MAX_UNPACKED_BYTES`.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            text = file.read(MAX_UNPACKED_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"manifest {name!r} cannot be unpacked as gzip: {error}") from error
    if len(text) > MAX_UNPACKED_BYTES:
        raise UsageError(
            f"manifest {name!r}: unpacks to more than {MAX_UNPACKED_BYTES >> 30} GiB; split it"
        )
    return text


def to_utf8(what: str, content: bytes) -> bytes:
    """Convert a text to UTF-8 without a byte order mark.

    A text without a mark is returned as it is, even if some of its bytes are not UTF-8. Its reader
    reports these with their line, see `not_utf8_message`.

    Args:
        what: Name of the text in messages, as "standard input".
        content: Text in any encoding.

    Raises:
        UsageError: The text seems to be UTF-16 without a byte order mark, or does not have the
            encoding of its mark.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            try:
                return content.decode(encoding).encode()
            except UnicodeError as error:
                raise UsageError(
                    f"{what}: begins as {encoding.upper()} but is damaged ({error})"
                ) from error
    if is_utf16(content):
        raise UsageError(
            f"{what}: seems to be UTF-16 without a byte order mark; save it as UTF-8, for example "
            "with iconv -f UTF-16LE -t UTF-8"
        )
    return content.removeprefix(codecs.BOM_UTF8)


def is_text(name: str) -> bool:
    """Return whether UTF-8 can encode a name, so that `os.fsdecode` met only valid bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_utf16(content: bytes) -> bool:
    """Return whether a text without a byte order mark seems to be UTF-16.

    Text mostly of Latin letters has a zero in every second byte then.
    """
    start = content[:_PROBED_BYTES]
    odd, even = start[1::2], start[::2]
    return any(
        half and half.count(0) > 0.7 * len(half) and not other.count(0)
        for half, other in ((odd, even), (even, odd))
    )


def not_utf8_message(where: str, line: bytes) -> str:
    """Return the message of the error for a line that is not UTF-8.

    Args:
        where: Name of the manifest and number of the line.
        line: Bytes of the line.
    """
    first = next((byte for byte in line if byte >= 0x80), 0)
    return (
        f"{where}: is not UTF-8 (byte 0x{first:02x}), perhaps Latin-1 or Windows-1252; save the "
        "file as UTF-8, for example with iconv -f WINDOWS-1252 -t UTF-8"
    )

"""A parser of tags around audio without a container (MP3, AAC), so tags do not count as damage.

ID3v2 tags come before the audio, and between files that were joined. ID3v1, APEv2 and Lyrics3 tags
come after the audio.
"""

import os
from typing import BinaryIO

from pipeline.errors import CannotDecodeError

_ID3_HEADER_BYTES = 10
_MAX_ID3_TAGS = 16
_MAX_PADDING_BYTES = 1 << 16
ID3V1_BYTES = 128
_APE_HEADER_BYTES = 32
_APE_HAS_HEADER = 1 << 31
"""Flag of an APEv2 tag that has a header as well as a footer."""
_MAX_LYRICS_BYTES = 5100
"""Maximum size of a Lyrics3 tag of version 1 in bytes; the tag does not declare its size."""


def skip_id3(file: BinaryIO) -> int:
    """Return the offset of the audio after any ID3v2 tags and the zeros that pad the last tag.

    Args:
        file: File opened for reading; its position is moved.
    """
    start = 0
    for _ in range(_MAX_ID3_TAGS):
        file.seek(start)
        header = file.read(_ID3_HEADER_BYTES)
        size = _id3_bytes(header)
        if not size:
            break
        start += size
    if start and header and not any(header):
        file.seek(start)
        padding = file.read(_MAX_PADDING_BYTES)
        start += len(padding) - len(padding.lstrip(b"\0"))
    return start


def size_of_tag(content: bytes, at: int) -> int:
    """Return the size in bytes of the tag that begins at an index, or 0 if no tag begins there.

    Args:
        content: Part of a file. Except for Lyrics3, the header of the tag is enough.
        at: Index in `content`.
    """
    header = content[at : at + _APE_HEADER_BYTES]
    if header.startswith(b"ID3"):
        return _id3_bytes(header)
    if header.startswith(b"TAG"):
        return ID3V1_BYTES
    if n_bytes := _ape_bytes(header):
        return n_bytes
    if header.startswith(b"LYRICSBEGIN"):
        for mark in (b"LYRICS200", b"LYRICSEND"):
            end = content.find(mark, at, at + _MAX_LYRICS_BYTES)
            if end >= 0:
                return end + len(mark) - at
    return 0


def size_of_trailing_tags(file: BinaryIO) -> int:
    """Return the total size in bytes of an APEv2 and an ID3v1 tag at the end of a file.

    The size is 0 if the file ends with neither.

    Args:
        file: File opened for reading; its position is moved.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - ID3V1_BYTES - _APE_HEADER_BYTES))
    end = file.read(ID3V1_BYTES + _APE_HEADER_BYTES)
    n_bytes = 0
    if end[-ID3V1_BYTES:].startswith(b"TAG"):
        n_bytes, end = ID3V1_BYTES, end[:-ID3V1_BYTES]
    footer = end[-_APE_HEADER_BYTES:]
    return min(size, n_bytes + _ape_bytes(footer))


def check_tags(file: BinaryIO) -> None:
    """Raise CannotDecodeError if a file holds nothing after its ID3 tags.

    Args:
        file: File opened for reading; its position is moved.

    Raises:
        CannotDecodeError: The file ends inside an ID3 tag (class `truncated`) or directly after it
            (class `empty`).
    """
    start = skip_id3(file)
    size = file.seek(0, os.SEEK_END)
    if start > size:
        raise CannotDecodeError(
            "truncated",
            f"ends inside its ID3 tags: they take {start} bytes, the file has {size}; fetch the "
            "file again",
        )
    if start and start == size:
        raise CannotDecodeError("empty", "holds an ID3 tag and no audio after it")


def _ape_bytes(header: bytes) -> int:
    """Return the size in bytes of an APEv2 tag, given its header or its footer."""
    if len(header) < _APE_HEADER_BYTES or not header.startswith(b"APETAGEX"):
        return 0
    size = int.from_bytes(header[12:16], "little")
    has_header = int.from_bytes(header[20:24], "little") & _APE_HAS_HEADER
    return size + (_APE_HEADER_BYTES if has_header else 0)


def _id3_bytes(header: bytes) -> int:
    """Return the size in bytes of an ID3v2 tag with its header; 0 if the header is not one."""
    if len(header) < _ID3_HEADER_BYTES or header[:3] != b"ID3" or max(header[6:10]) > 0x7F:
        return 0
    size = header[6] << 21 | header[7] << 14 | header[8] << 7 | header[9]
    has_footer = bool(header[5] & 0x10)
    return _ID3_HEADER_BYTES + size + (_ID3_HEADER_BYTES if has_footer else 0)

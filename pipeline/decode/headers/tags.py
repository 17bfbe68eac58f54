"""Tags around the audio of bare formats (MP3, AAC), so that they do not pass for damage.

ID3v2 stands in front, and between files that were joined; ID3v1, APEv2 and Lyrics3 stand behind.
"""

import os
from typing import BinaryIO

from pipeline.errors import CannotDecodeError

_ID3_HEADER = 10
_MOST_ID3 = 16
_MOST_PADDING = 1 << 16
ID3V1_BYTES = 128
_APE_HEADER = 32
_APE_HAS_HEADER = 1 << 31
_MOST_LYRICS = 5100
"""Bytes of a Lyrics3 tag of version 1, which does not say its size."""


def skip_id3(file: BinaryIO) -> int:
    """Return where the audio begins, after any ID3v2 tags and the zeros that pad the last one.

    Args:
        file: File opened for reading; its position is moved.
    """
    start = 0
    for _ in range(_MOST_ID3):
        file.seek(start)
        head = file.read(_ID3_HEADER)
        size = _id3_bytes(head)
        if not size:
            break
        start += size
    if start and head and not any(head):
        file.seek(start)
        padding = file.read(_MOST_PADDING)
        start += len(padding) - len(padding.lstrip(b"\0"))
    return start


def size_of_tag(content: bytes, at: int) -> int:
    """Return the size of the tag that begins here; 0 if none does.

    Args:
        content: Some bytes of a file; of a tag, its header is enough.
        at: Index into them.
    """
    head = content[at : at + _APE_HEADER]
    if head.startswith(b"ID3"):
        return _id3_bytes(head)
    if head.startswith(b"TAG"):
        return ID3V1_BYTES
    if n_bytes := _ape_bytes(head):
        return n_bytes
    if head.startswith(b"LYRICSBEGIN"):
        for mark in (b"LYRICS200", b"LYRICSEND"):
            end = content.find(mark, at, at + _MOST_LYRICS)
            if end >= 0:
                return end + len(mark) - at
    return 0


def size_of_trailing_tags(file: BinaryIO) -> int:
    """Return the size of an APEv2 and an ID3v1 tag at the end of a file; 0 if there are none.

    Args:
        file: File opened for reading; its position is moved.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - ID3V1_BYTES - _APE_HEADER))
    end = file.read(ID3V1_BYTES + _APE_HEADER)
    n_bytes = 0
    if end[-ID3V1_BYTES:].startswith(b"TAG"):
        n_bytes, end = ID3V1_BYTES, end[:-ID3V1_BYTES]
    footer = end[-_APE_HEADER:]
    return min(size, n_bytes + _ape_bytes(footer))


def check_tags(file: BinaryIO) -> None:
    """See that there is something after the ID3 tags.

    Args:
        file: File opened for reading; its position is moved.

    Raises:
        CannotDecodeError: The file ends with its tag or inside it.
    """
    start = skip_id3(file)
    size = file.seek(0, os.SEEK_END)
    if start > size:
        raise CannotDecodeError(
            "truncated",
            f"ends inside its ID3 tag: of the tag's {start} bytes the file holds {size}; fetch the "
            "file again",
        )
    if start and start == size:
        raise CannotDecodeError("empty", "holds an ID3 tag and no audio after it")


def _ape_bytes(head: bytes) -> int:
    """Return the size of the APEv2 tag that a header or a footer is of."""
    if len(head) < _APE_HEADER or not head.startswith(b"APETAGEX"):
        return 0
    size = int.from_bytes(head[12:16], "little")
    has_header = int.from_bytes(head[20:24], "little") & _APE_HAS_HEADER
    return size + (_APE_HEADER if has_header else 0)


def _id3_bytes(head: bytes) -> int:
    if len(head) < _ID3_HEADER or head[:3] != b"ID3" or max(head[6:10]) > 0x7F:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    has_footer = bool(head[5] & 0x10)
    return _ID3_HEADER + size + (_ID3_HEADER if has_footer else 0)

"""How many bytes a container says it has, and how many are there: all that a cut file betrays.

Matroska and WebM, ASF (WMA), MP4, AVI and TTA say where their last part ends. Decoders stop at the
end of the file and say nothing. A container that was written to a pipe, or is still being written,
says no size and promises nothing, but for the end of its last block.
"""

import os
import struct
from collections.abc import Callable
from typing import BinaryIO

_HEAD_BYTES = 64
_TAIL_BYTES = 1 << 18
_EBML, _SEGMENT, _CLUSTER = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_IN_CLUSTERS = frozenset(
    map(bytes.fromhex, (
        *("1f43b675", "e7", "a3", "a0", "a7", "ab", "af", "ec", "bf", "5854"),
        *("1c53bb6b", "1254c367", "114d9b74", "1043a770", "1941a469", "1549a966"),
    ))
)  # fmt: skip
"""Elements of Matroska that lie in clusters or follow one."""
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_OBJECT = struct.Struct("<16sQ")
_BOXES = frozenset(
    (b"ftyp", b"moov", b"mdat", b"moof", b"free", b"skip", b"wide", b"sidx", b"ssix", b"styp",
     b"udta", b"meta", b"uuid", b"mfra", b"emsg", b"prft", b"pdin", b"pnot", b"PICT")
)  # fmt: skip
_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp")
_MOST_BOXES = 100_000
_MOST_FRAGMENT_HEADER_BYTES = 1 << 12
_TTA_HEADER_BYTES = 22
_UNKNOWN_AVI_SIZES = (0, 0xFFFF_FFFF)


def read_declared_size(file: BinaryIO) -> tuple[int, int] | None:
    """Return the bytes that a container says it has, and those that are there.

    Args:
        file: File opened for reading; its position is moved.

    Returns:
        (declared, present), or None where the file is of another format or does not say.
    """
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    for is_one, end_of in _FAMILIES:
        if is_one(head):
            end = end_of(file, head)
            size = file.seek(0, os.SEEK_END)
            return None if end is None else (end, min(end, size))
    return None


def find_joined_bytes(file: BinaryIO, end: int) -> int:
    """Return the size of recordings that were joined to one whose decoder stops at its end.

    Args:
        file: File opened for reading; its position is moved.
        end: Offset in bytes at which the first recording ends, as `read_declared_size` returns it.

    Returns:
        Number of bytes behind the first recording; 0 where something else or nothing comes there,
        and for Matroska and AVI, of which FFmpeg decodes all that were joined.
    """
    file.seek(end)
    head = file.read(_HEAD_BYTES)
    is_one = any(is_one(head) for is_one in (_is_asf, _is_mp4, _is_tta))
    return file.seek(0, os.SEEK_END) - end if is_one else 0


def _is_asf(head: bytes) -> bool:
    return head.startswith(_ASF_HEADER) and len(head) == _HEAD_BYTES


def _is_mp4(head: bytes) -> bool:
    return head[4:8] in _FIRST_BOXES


def _is_tta(head: bytes) -> bool:
    return head.startswith(b"TTA1") and len(head) == _HEAD_BYTES


def _end_of_matroska(file: BinaryIO, head: bytes) -> int | None:
    size = _ebml_size(head, len(_EBML))
    if size is None:
        return None
    segment_at = size[0] + size[1]
    if segment_at > file.seek(0, os.SEEK_END):
        return None  # a damaged size leads out of the file
    file.seek(segment_at)
    head = file.read(_HEAD_BYTES)
    if not head.startswith(_SEGMENT):
        return None
    size = _ebml_size(head, len(_SEGMENT))
    return _end_of_last_cluster(file) if size is None else segment_at + size[0] + size[1]


def _end_of_last_cluster(file: BinaryIO) -> int | None:
    """Return where the last block of a live recording ends, which declares no size itself."""
    size = file.seek(0, os.SEEK_END)
    tail_at = max(0, size - _TAIL_BYTES)
    file.seek(tail_at)
    tail = file.read(_TAIL_BYTES)
    at = tail.rfind(_CLUSTER)
    while 0 <= at < len(tail) and tail[at] >= 0x10:
        id_bytes = 9 - tail[at].bit_length()
        if tail[at : at + id_bytes] not in _IN_CLUSTERS and at + id_bytes <= len(tail):
            return None  # something put behind
        element = _ebml_size(tail, at + id_bytes)
        if element is not None:
            body, n_bytes = element
            is_cluster = tail[at : at + len(_CLUSTER)] == _CLUSTER
            at = body if is_cluster and body + n_bytes > len(tail) else body + n_bytes
        elif tail[at : at + len(_CLUSTER)] == _CLUSTER and len(tail) > at + 12:
            at += len(_CLUSTER) + 9 - tail[at + len(_CLUSTER)].bit_length()
        else:
            at = len(tail) + 1  # the header of an element is cut
    return tail_at + at if at >= len(tail) else None


def _ebml_size(head: bytes, at: int) -> tuple[int, int] | None:
    """Return where an element's body begins, and its size; None where the size is left open."""
    if at >= len(head) or not head[at]:
        return None
    n_bytes = 9 - head[at].bit_length()
    size = int.from_bytes(head[at : at + n_bytes], "big") - (1 << 7 * n_bytes)
    if len(head) < at + n_bytes or size == (1 << 7 * n_bytes) - 1:
        return None
    return at + n_bytes, size


def _end_of_asf(file: BinaryIO, head: bytes) -> int | None:
    _, header_bytes = _ASF_OBJECT.unpack_from(head)
    if header_bytes > file.seek(0, os.SEEK_END):
        return None  # a damaged size leads out of the file
    file.seek(header_bytes)
    data = file.read(_ASF_OBJECT.size)
    if len(data) < _ASF_OBJECT.size:
        return None
    guid, data_bytes = _ASF_OBJECT.unpack(data)
    # A stream that was recorded live has no size, or that of its header alone.
    if guid != _ASF_DATA or data_bytes <= 50 or data_bytes >> 62:
        return None
    return int(header_bytes + data_bytes)


def _end_of_mp4(file: BinaryIO, head: bytes) -> int | None:
    size, at, header_at, found = file.seek(0, os.SEEK_END), 0, 0, set[bytes]()
    for _ in range(_MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8 or head[4:8] not in _BOXES:
            break  # the end, or something put behind
        if head[4:8] == b"ftyp" and b"moov" in found:
            header_at = at
            if b"moof" not in found:
                break  # another recording
        if head[4:8] == b"moof" and header_at and _starts_again(file, at):
            return header_at  # one of fragments; a stream may repeat its header between them
        found.add(head[4:8])
        n_bytes = int.from_bytes(head[:4], "big")
        if n_bytes == 1:
            n_bytes = int.from_bytes(head[8:16], "big")
        if n_bytes < 8:
            return None  # up to the end of the file
        at += n_bytes
        if at >= size:
            break
    return at


def _starts_again(file: BinaryIO, at: int) -> bool:
    """Return whether a fragment of an MP4 is the first one of a recording, by its time."""
    file.seek(at)
    fragment = file.read(_MOST_FRAGMENT_HEADER_BYTES)
    time_at = fragment.find(b"tfdt") + 8
    n_bytes = 8 if time_at > 8 and fragment[time_at - 4] else 4
    return time_at > 8 and not any(fragment[time_at : time_at + n_bytes])


def _end_of_avi(_: BinaryIO, head: bytes) -> int | None:
    size = int.from_bytes(head[4:8], "little")
    return None if size in _UNKNOWN_AVI_SIZES else size + 8


def _end_of_tta(file: BinaryIO, head: bytes) -> int | None:
    rate_hz, n_samples = struct.unpack_from("<II", head, 10)
    frame_samples = 256 * rate_hz // 245
    if not frame_samples:
        return None
    n_frames = -(-n_samples // frame_samples)
    if 4 * n_frames > file.seek(0, os.SEEK_END):
        return None  # a damaged count: its table alone is larger than the file
    file.seek(_TTA_HEADER_BYTES)
    sizes = file.read(4 * n_frames)
    if len(sizes) < 4 * n_frames:
        return None
    in_frames = sum(struct.unpack(f"<{n_frames}I", sizes))
    return int(_TTA_HEADER_BYTES + len(sizes) + 4 + in_frames)


_FAMILIES: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, bytes], int | None]], ...] = (
    (lambda head: head.startswith(_EBML), _end_of_matroska),
    (_is_asf, _end_of_asf),
    (_is_mp4, _end_of_mp4),
    (lambda head: head.startswith(b"RIFF") and head[8:12] == b"AVI ", _end_of_avi),
    (_is_tta, _end_of_tta),
)

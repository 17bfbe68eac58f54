"""A reader of the size that a container declares, which reveals a truncated file.

Matroska and WebM, ASF (WMA), MP4, AVI and TTA declare where their last element ends. Decoders stop
at the end of a truncated file without an error. A container that was written to a pipe, or that is
still being written, declares no size. Of a live Matroska recording, only the end of the last block
is known.
"""

import os
import struct
from collections.abc import Callable
from typing import BinaryIO

_PROBE_BYTES = 64
_TAIL_BYTES = 1 << 18
_EBML, _SEGMENT, _CLUSTER = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_IN_CLUSTERS = frozenset(
    map(bytes.fromhex, (
        *("1f43b675", "e7", "a3", "a0", "a7", "ab", "af", "ec", "bf", "5854"),
        *("1c53bb6b", "1254c367", "114d9b74", "1043a770", "1941a469", "1549a966"),
    ))
)  # fmt: skip
"""Ids of Matroska elements that are inside a cluster or follow one."""
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_OBJECT = struct.Struct("<16sQ")
_BOXES = frozenset(
    (b"ftyp", b"moov", b"mdat", b"moof", b"free", b"skip", b"wide", b"sidx", b"ssix", b"styp",
     b"udta", b"meta", b"uuid", b"mfra", b"emsg", b"prft", b"pdin", b"pnot", b"PICT")
)  # fmt: skip
_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp")
_MAX_BOXES = 100_000
_MAX_FRAGMENT_HEADER_BYTES = 1 << 12
_TTA_HEADER_BYTES = 22
_UNKNOWN_AVI_SIZES = (0, 0xFFFF_FFFF)


def read_declared_size(file: BinaryIO) -> tuple[int, int] | None:
    """Return how many bytes a container declares and how many of them the file holds.

    Args:
        file: File opened for reading; its position is moved.

    Returns:
        (declared, present) in bytes. None if the container is of another kind or declares no size.
    """
    file.seek(0)
    header = file.read(_PROBE_BYTES)
    for matches, find_end in _CONTAINERS:
        if matches(header):
            end = find_end(file, header)
            size = file.seek(0, os.SEEK_END)
            return None if end is None else (end, min(end, size))
    return None


def find_joined_bytes(file: BinaryIO, end: int) -> int:
    """Return the size of ASF, MP4 or TTA recordings that were joined to the first one.

    FFmpeg decodes only the first of them. It decodes all joined Matroska and AVI recordings, so
    these do not count.

    Args:
        file: File opened for reading; its position is moved.
        end: Offset at which the first recording ends, as `read_declared_size` returns it.

    Returns:
        Number of bytes after the first recording; 0 if no other recording begins there.
    """
    file.seek(end)
    header = file.read(_PROBE_BYTES)
    is_joined = any(matches(header) for matches in (_is_asf, _is_mp4, _is_tta))
    return file.seek(0, os.SEEK_END) - end if is_joined else 0


def _is_asf(header: bytes) -> bool:
    return header.startswith(_ASF_HEADER) and len(header) == _PROBE_BYTES


def _is_mp4(header: bytes) -> bool:
    return header[4:8] in _FIRST_BOXES


def _is_tta(header: bytes) -> bool:
    return header.startswith(b"TTA1") and len(header) == _PROBE_BYTES


def _find_matroska_end(file: BinaryIO, header: bytes) -> int | None:
    size = _read_ebml_size(header, len(_EBML))
    if size is None:
        return None
    segment_at = size[0] + size[1]
    if segment_at > file.seek(0, os.SEEK_END):
        return None  # a damaged size leads outside the file
    file.seek(segment_at)
    header = file.read(_PROBE_BYTES)
    if not header.startswith(_SEGMENT):
        return None
    size = _read_ebml_size(header, len(_SEGMENT))
    return _find_last_cluster_end(file) if size is None else segment_at + size[0] + size[1]


def _find_last_cluster_end(file: BinaryIO) -> int | None:
    """Return the offset at which the last block of a live Matroska recording ends, or None.

    The segment of a live recording declares no size, but its blocks do.
    """
    size = file.seek(0, os.SEEK_END)
    tail_at = max(0, size - _TAIL_BYTES)
    file.seek(tail_at)
    tail = file.read(_TAIL_BYTES)
    at = tail.rfind(_CLUSTER)
    while 0 <= at < len(tail) and tail[at] >= 0x10:
        id_bytes = 9 - tail[at].bit_length()
        if tail[at : at + id_bytes] not in _IN_CLUSTERS and at + id_bytes <= len(tail):
            return None  # other data follows the recording
        element = _read_ebml_size(tail, at + id_bytes)
        if element is not None:
            body, n_bytes = element
            is_cluster = tail[at : at + len(_CLUSTER)] == _CLUSTER
            at = body if is_cluster and body + n_bytes > len(tail) else body + n_bytes
        elif tail[at : at + len(_CLUSTER)] == _CLUSTER and len(tail) > at + 12:
            at += len(_CLUSTER) + 9 - tail[at + len(_CLUSTER)].bit_length()
        else:
            at = len(tail) + 1  # the header of an element is truncated
    return tail_at + at if at >= len(tail) else None


def _read_ebml_size(content: bytes, at: int) -> tuple[int, int] | None:
    """Return the index of an element's body and its size in bytes; None if the size is unknown.

    Args:
        content: Part of a Matroska file.
        at: Index in `content` of the size, which follows the element's id.
    """
    if at >= len(content) or not content[at]:
        return None
    n_bytes = 9 - content[at].bit_length()
    size = int.from_bytes(content[at : at + n_bytes], "big") - (1 << 7 * n_bytes)
    if len(content) < at + n_bytes or size == (1 << 7 * n_bytes) - 1:
        return None
    return at + n_bytes, size


def _find_asf_end(file: BinaryIO, header: bytes) -> int | None:
    _, header_bytes = _ASF_OBJECT.unpack_from(header)
    if header_bytes > file.seek(0, os.SEEK_END):
        return None  # a damaged size leads outside the file
    file.seek(header_bytes)
    data = file.read(_ASF_OBJECT.size)
    if len(data) < _ASF_OBJECT.size:
        return None
    guid, data_bytes = _ASF_OBJECT.unpack(data)
    # A live recording declares no size, or only the size of its header.
    if guid != _ASF_DATA or data_bytes <= 50 or data_bytes >> 62:
        return None
    return int(header_bytes + data_bytes)


def _find_mp4_end(file: BinaryIO, header: bytes) -> int | None:
    size, at, header_at, found = file.seek(0, os.SEEK_END), 0, 0, set[bytes]()
    for _ in range(_MAX_BOXES):
        file.seek(at)
        header = file.read(16)
        if len(header) < 8 or header[4:8] not in _BOXES:
            break  # the end of the file, or other data after the recording
        if header[4:8] == b"ftyp" and b"moov" in found:
            header_at = at
            if b"moof" not in found:
                break  # another recording begins
        # A live stream may repeat its header between fragments, so the time must restart, too.
        if header[4:8] == b"moof" and header_at and _is_first_fragment(file, at):
            return header_at
        found.add(header[4:8])
        n_bytes = int.from_bytes(header[:4], "big")
        if n_bytes == 1:
            n_bytes = int.from_bytes(header[8:16], "big")
        if n_bytes < 8:
            return None  # the box extends to the end of the file
        at += n_bytes
        if at >= size:
            break
    return at


def _is_first_fragment(file: BinaryIO, at: int) -> bool:
    """Return whether the MP4 fragment at an offset starts at time 0."""
    file.seek(at)
    fragment = file.read(_MAX_FRAGMENT_HEADER_BYTES)
    time_at = fragment.find(b"tfdt") + 8
    n_bytes = 8 if time_at > 8 and fragment[time_at - 4] else 4
    return time_at > 8 and not any(fragment[time_at : time_at + n_bytes])


def _find_avi_end(_: BinaryIO, header: bytes) -> int | None:
    size = int.from_bytes(header[4:8], "little")
    return None if size in _UNKNOWN_AVI_SIZES else size + 8


def _find_tta_end(file: BinaryIO, header: bytes) -> int | None:
    rate_hz, n_samples = struct.unpack_from("<II", header, 10)
    frame_samples = 256 * rate_hz // 245
    if not frame_samples:
        return None
    n_frames = -(-n_samples // frame_samples)
    if 4 * n_frames > file.seek(0, os.SEEK_END):
        return None  # the count is damaged: its table alone is larger than the file
    file.seek(_TTA_HEADER_BYTES)
    sizes = file.read(4 * n_frames)
    if len(sizes) < 4 * n_frames:
        return None
    frame_bytes = sum(struct.unpack(f"<{n_frames}I", sizes))
    return int(_TTA_HEADER_BYTES + len(sizes) + 4 + frame_bytes)


_CONTAINERS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, bytes], int | None]], ...] = (
    (lambda header: header.startswith(_EBML), _find_matroska_end),
    (_is_asf, _find_asf_end),
    (_is_mp4, _find_mp4_end),
    (lambda header: header.startswith(b"RIFF") and header[8:12] == b"AVI ", _find_avi_end),
    (_is_tta, _find_tta_end),
)
"""Pairs of a test of a file's first bytes and a function that finds the declared end."""

"""A parser of two containers without chunks: Sun's AU and NIST's SPHERE.

Both consist of one header and the audio after it.
"""

import os
import struct
from typing import BinaryIO

from pipeline.decode.headers.riff import AudioChunk, Layout, is_placeholder

_SPHERE = b"NIST_1A\n"
_MAX_SPHERE_HEADER_BYTES = 1 << 16


def find_au_chunk(file: BinaryIO) -> AudioChunk | None:
    """Return the audio of an AU file as a chunk, or None if the file is no AU file.

    The chunk's size is None if the header holds a placeholder.

    Args:
        file: File opened for reading; its position is moved.
    """
    file.seek(0)
    header = file.read(24)
    order = {b".snd": ">", b"dns.": "<"}.get(header[:4])
    if order is None or len(header) < 24:
        return None
    start, size = struct.unpack(order + "II", header[4:12])
    layout = Layout("AU", b"", byte_order=order, alignment=1)
    file_bytes = file.seek(0, os.SEEK_END)
    is_unknown = is_placeholder(layout, size) and size > file_bytes - start
    return AudioChunk(layout, 4, start, None if is_unknown else size, file_bytes)


def read_sphere_length(file: BinaryIO) -> tuple[int, int] | None:
    """Return how many bytes of audio a SPHERE file declares and how many it holds.

    Args:
        file: File opened for reading; its position is moved.

    Returns:
        (declared, present) in bytes. None if the file is no SPHERE file, if its header declares no
        length, or if its audio is compressed with Shorten.
    """
    file.seek(0)
    if file.read(len(_SPHERE)) != _SPHERE:
        return None
    file.seek(0)
    lines = file.read(_MAX_SPHERE_HEADER_BYTES).partition(b"end_head")[0].split(b"\n")
    fields = {parts[0]: parts[2] for line in lines if len(parts := line.split()) >= 3}
    if b"shorten" in fields.get(b"sample_coding", b""):
        return None
    try:
        start = int(lines[1])
        per_sample = int(fields.get(b"sample_n_bytes", b"2")) * int(fields[b"channel_count"])
        declared = int(fields[b"sample_count"]) * per_sample
    except (KeyError, ValueError, IndexError):
        return None
    if declared <= 0:
        return None
    return declared, min(declared, max(0, file.seek(0, os.SEEK_END) - start))

"""How much audio a WAV or AIFF header promises, and how much of it the file holds.

Decoders clamp a cut-off file to what is there and say nothing; the chunk header is the only
witness. Formats: RIFF/WAVE, RF64 (EBU 3306) and FORM/AIFF, each a tree of (id, size) chunks.
"""

import os
import struct
from typing import BinaryIO

# Programs that write to a pipe cannot go back to fill in the size; they leave 0 or a size near
# the largest signed or unsigned one. Such a header promises nothing.
_PLACEHOLDER_FROM = 0x7FFF_0000
_MOST_CHUNKS = 1000


def promised_and_present(file: BinaryIO) -> tuple[int, int] | None:
    """Bytes of audio that the header promises and that the file holds.

    Args:
        file: opened for reading; its position is moved.

    Returns:
        (promised, present), or None where the format or the header does not say.
    """
    file_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if len(head) < 12:
        return None
    form, kind = head[:4], head[8:12]
    if form in (b"RIFF", b"RF64") and kind == b"WAVE":
        order, audio = "<", b"data"
    elif form == b"FORM" and kind in (b"AIFF", b"AIFC"):
        order, audio = ">", b"SSND"
    else:
        return None
    wide_size: int | None = None
    for _ in range(_MOST_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            return None
        chunk, size = header[:4], struct.unpack(order + "I", header[4:])[0]
        body = file.tell()
        if chunk == b"ds64":
            sizes = file.read(16)
            wide_size = struct.unpack("<QQ", sizes)[1] if len(sizes) == 16 else None
        if chunk == audio:
            if form == b"RF64" and wide_size is not None:
                size = wide_size
            elif size == 0 or size >= _PLACEHOLDER_FROM:
                return None
            return size, min(size, max(0, file_bytes - body))
        file.seek(body + size + size % 2)
    return None

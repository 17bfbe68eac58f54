"""A parser of chunked files (WAV, AIFF and others) that finds the audio and its declared size.

Decoders read a truncated file up to its end, ignore audio that the header does not count, and
report neither. Only the header of the audio chunk reveals that something is missing. Each
supported container is a sequence of chunks with an id and a size: RIFF/WAVE and its variants RIFX,
RF64 and BW64 (EBU 3306), FORM/AIFF and 8SVX, Sony's Wave64, and Apple's CAF.
"""

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

MAX_CHUNKS = 1000
"""Maximum number of chunks that are visited in a file."""
_WAVE64_GUID_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
"""Last 12 bytes of the GUID of every Wave64 chunk but the first; four letters come before."""
_WAVE64_RIFF_GUID = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")


@dataclass(frozen=True, slots=True)
class Layout:
    """The chunk layout of a container.

    Attributes:
        name: Name of the container.
        audio_id: Id of the chunk that holds the audio.
        first_chunk_at: Offset of the first chunk in the file.
        byte_order: Byte order of integers, as a prefix for `struct`.
        id_bytes: Length of a chunk id in bytes.
        size_code: Integer type of a chunk size, as a code of `struct`.
        counts_header: Whether the size of a chunk includes its header.
        alignment: Alignment of chunks in bytes, counted from the first chunk.
        audio_offset: Bytes in the body of the audio chunk that precede the audio.
    """

    name: str
    audio_id: bytes
    first_chunk_at: int = 12
    byte_order: str = "<"
    id_bytes: int = 4
    size_code: str = "I"
    counts_header: bool = False
    alignment: int = 2
    audio_offset: int = 0

    @property
    def header_bytes(self) -> int:
        """Length of a chunk header in bytes."""
        return self.id_bytes + struct.calcsize(self.byte_order + self.size_code)

    def size(self, header: bytes) -> int:
        """Return the size of a chunk's body in bytes; -1 for a CAF chunk of unknown size.

        Args:
            header: Header of the chunk.
        """
        size: int = struct.unpack_from(self.byte_order + self.size_code, header, self.id_bytes)[0]
        return size - self.header_bytes if self.counts_header else size

    def pack_size(self, size: int) -> bytes:
        """Return the size field of a chunk header, encoded.

        Args:
            size: Size of the chunk's body in bytes.
        """
        return struct.pack(
            self.byte_order + self.size_code,
            size + (self.header_bytes if self.counts_header else 0),
        )


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """The first chunk of a file that holds audio. All offsets count from the start of the file.

    Attributes:
        layout: Chunk layout of the file.
        header_at: Offset of the chunk's header.
        start: Offset of the chunk's body.
        size: Size of the body in bytes, as the header declares it. None if the header holds a
            placeholder, 0 if the chunk declares no audio.
        file_bytes: Size of the file in bytes.
        format_at: Offset of the body of the chunk that describes the audio; 0 if no such chunk
            precedes the audio.
        sizes_at: Offset of the body of the `ds64` chunk of an RF64 file; 0 if the file has none.
        count_at: Offset of the body of the `fact` chunk of a WAVE file; 0 if the file has none.
    """

    layout: Layout
    header_at: int
    start: int
    size: int | None
    file_bytes: int
    format_at: int = 0
    sizes_at: int = 0
    count_at: int = 0

    @property
    def present_bytes(self) -> int:
        """Number of bytes from the start of the body to the end of the file."""
        return max(0, self.file_bytes - self.start)


_RIFF = Layout("RIFF", b"data")
_RF64 = Layout("RF64", b"data")
_RIFX = Layout("RIFX", b"data", byte_order=">")
_AIFF = Layout("AIFF", b"SSND", byte_order=">", audio_offset=8)
_SVX = Layout("SVX", b"BODY", byte_order=">")
_WAVE64 = Layout(
    "W64",
    b"data" + _WAVE64_GUID_TAIL,
    first_chunk_at=40,
    id_bytes=16,
    size_code="Q",
    counts_header=True,
    alignment=8,
)
_CAF = Layout(
    "CAF", b"data", first_chunk_at=8, byte_order=">", size_code="q", alignment=1, audio_offset=4
)
_FORMAT_IDS = (b"fmt ", b"COMM", b"VHDR", b"desc", b"fmt " + _WAVE64_GUID_TAIL)


def read_riff_length(file: BinaryIO) -> tuple[int, int] | None:
    """Return how many bytes of audio a chunked file declares and how many it holds.

    Args:
        file: File opened for reading; its position is moved.

    Returns:
        (declared, present) in bytes. None if the file is not chunked, or if its header declares no
        audio or leaves the size open.
    """
    chunk = find_audio_chunk(file)
    if chunk is None or not chunk.size:
        return None
    return chunk.size, min(chunk.size, chunk.present_bytes)


def find_audio_chunk(file: BinaryIO) -> AudioChunk | None:
    """Return the audio chunk of a file, or None if the file has none.

    Args:
        file: File opened for reading; its position is moved.
    """
    file.seek(0)
    layout = _detect_layout(file.read(40))
    if layout is None:
        return None
    file_bytes = file.seek(0, os.SEEK_END)
    at, found = layout.first_chunk_at, {"format_at": 0, "sizes_at": 0, "count_at": 0}
    wide_size: int | None = None
    for _ in range(MAX_CHUNKS):
        if not layout.first_chunk_at <= at <= file_bytes:
            return None  # a damaged size leads outside the file
        file.seek(at)
        header = file.read(layout.header_bytes)
        if len(header) < layout.header_bytes:
            return None
        name, size, body = header[: layout.id_bytes], layout.size(header), at + len(header)
        if name == layout.audio_id:
            if layout is _RF64 and wide_size:
                is_unknown, size = wide_size >> 63 > 0, wide_size
            else:
                is_unknown = is_placeholder(layout, size) and size > file_bytes - body
            known = None if is_unknown else size if size > layout.audio_offset else 0
            return AudioChunk(layout, at, body, known, file_bytes, **found)
        if name == b"ds64":
            sizes = file.read(16)
            wide_size = struct.unpack("<QQ", sizes)[1] if len(sizes) == 16 else None
            found["sizes_at"] = body
        elif name in _FORMAT_IDS:
            found["format_at"] = body
        elif name == b"fact":
            found["count_at"] = body
        if size < 0:
            return None
        at = body + size + -(body + size - layout.first_chunk_at) % layout.alignment
    return None


def _detect_layout(file_header: bytes) -> Layout | None:
    form, kind = file_header[:4], file_header[8:12]
    if kind == b"WAVE":
        return {b"RIFF": _RIFF, b"RF64": _RF64, b"BW64": _RF64, b"RIFX": _RIFX}.get(form)
    if form == b"FORM":
        return {b"AIFF": _AIFF, b"AIFC": _AIFF, b"8SVX": _SVX, b"16SV": _SVX}.get(kind)
    if file_header[:16] == _WAVE64_RIFF_GUID and file_header[24:28] == b"wave":
        return _WAVE64
    return _CAF if form == b"caff" and len(file_header) >= 12 else None


def is_placeholder(layout: Layout, size: int) -> bool:
    """Return whether a size may be the placeholder of a program that wrote to a pipe.

    A program that writes to a pipe cannot seek back to fill in the size. It leaves 0, or a value
    near the maximum of a signed or unsigned integer. This function does not report 0: the audio
    then counts as trailing data that the header omits.

    Args:
        layout: Chunk layout of the file.
        size: Size in bytes, as the header declares it.
    """
    if layout.size_code != "I":
        return size < 0
    return 0x7FFF_0000 <= size <= 0x8000_FFFF or size >= 0xFFFF_0000

"""Where the audio of a file of chunks lies, and how many bytes of it the header declares.

Decoders clamp a cut-off file to what is there, leave out what a header does not count, and say
nothing; the header of the audio's chunk is the only witness. Formats, each a sequence of (id, size)
chunks: RIFF/WAVE and its kin RIFX, RF64 and BW64 (EBU 3306), FORM/AIFF and 8SVX, Sony's Wave64, and
Apple's CAF.
"""

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

MAX_CHUNKS = 1000
_WAVE64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
"""What follows the four letters in the GUID of each Wave64 chunk but the first."""
_WAVE64_RIFF = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")


@dataclass(frozen=True, slots=True)
class Layout:
    """How the chunks of a format are written.

    Attributes:
        name: Name of the format.
        audio: Id of the chunk that holds the audio.
        first: Offset of the first chunk.
        order: Byte order, as `struct` writes it.
        id_bytes: Bytes of an id.
        size_code: Type of a size, as `struct` writes it.
        counts_header: Whether a size counts the header of its chunk, too.
        multiple: Each chunk begins at a multiple of this many bytes.
        before: Bytes of the audio's chunk that come before the audio.
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
        """Bytes of the header of a chunk."""
        return self.id_bytes + struct.calcsize(self.byte_order + self.size_code)

    def size(self, header: bytes) -> int:
        """Return the size of the body of a chunk; that of CAF may be -1.

        Args:
            header: The header of the chunk.
        """
        size: int = struct.unpack_from(self.byte_order + self.size_code, header, self.id_bytes)[0]
        return size - self.header_bytes if self.counts_header else size

    def pack_size(self, size: int) -> bytes:
        """Return a size as the header of a chunk has it.

        Args:
            size: Bytes of the body.
        """
        return struct.pack(
            self.byte_order + self.size_code, size + (self.header_bytes if self.counts_header else 0)
        )


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """The chunk that holds the audio, or the first one that does.

    Attributes:
        layout: How the file's chunks are written.
        header_at: Offset of the header of the chunk.
        start: Offset of the first byte of its body.
        size: Bytes of the body that the header declares; None where it holds a placeholder, and 0
            where there is no audio in it.
        file_bytes: Bytes of the whole file.
        format_at: Offset of the body of the chunk that describes the audio; 0 if there is none
            before it.
        sizes_at: Offset of the body of RF64's `ds64`; 0 if there is none.
        count_at: Offset of the body of WAVE's `fact`; 0 if there is none.
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
        """Bytes from the start of the body to the end of the file."""
        return max(0, self.file_bytes - self.start)


_RIFF = Layout("RIFF", b"data")
_RF64 = Layout("RF64", b"data")
_RIFX = Layout("RIFX", b"data", byte_order=">")
_AIFF = Layout("AIFF", b"SSND", byte_order=">", audio_offset=8)
_SVX = Layout("SVX", b"BODY", byte_order=">")
_WAVE64 = Layout(
    "W64",
    b"data" + _WAVE64_TAIL,
    first_chunk_at=40,
    id_bytes=16,
    size_code="Q",
    counts_header=True,
    alignment=8,
)
_CAF = Layout("CAF", b"data", first_chunk_at=8, byte_order=">", size_code="q", alignment=1, audio_offset=4)
_FORMATS = (b"fmt ", b"COMM", b"VHDR", b"desc", b"fmt " + _WAVE64_TAIL)


def read_riff_length(file: BinaryIO) -> tuple[int, int] | None:
    """Bytes of audio that the header promises and that the file holds.

    Args:
        file: opened for reading; its position is moved.

    Returns:
        (promised, present), or None where the format or the header does not say.
    """
    chunk = find_audio_chunk(file)
    if chunk is None or not chunk.size:
        return None
    return chunk.size, min(chunk.size, chunk.present_bytes)


def find_audio_chunk(file: BinaryIO) -> AudioChunk | None:
    """Return the chunk that holds the audio; None where there is none.

    Args:
        file: File opened for reading; its position is moved.
    """
    file.seek(0)
    layout = _layout(file.read(40))
    if layout is None:
        return None
    file_bytes = file.seek(0, os.SEEK_END)
    at, found = layout.first_chunk_at, {"format_at": 0, "sizes_at": 0, "count_at": 0}
    wide_size: int | None = None
    for _ in range(MAX_CHUNKS):
        if not layout.first_chunk_at <= at <= file_bytes:
            return None  # a damaged size leads out of the file
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
        elif name in _FORMATS:
            found["format_at"] = body
        elif name == b"fact":
            found["count_at"] = body
        if size < 0:
            return None
        at = body + size + -(body + size - layout.first_chunk_at) % layout.alignment
    return None


def _layout(head: bytes) -> Layout | None:
    form, kind = head[:4], head[8:12]
    if kind == b"WAVE":
        return {b"RIFF": _RIFF, b"RF64": _RF64, b"BW64": _RF64, b"RIFX": _RIFX}.get(form)
    if form == b"FORM":
        return {b"AIFF": _AIFF, b"AIFC": _AIFF, b"8SVX": _SVX, b"16SV": _SVX}.get(kind)
    if head[:16] == _WAVE64_RIFF and head[24:28] == b"wave":
        return _WAVE64
    return _CAF if form == b"caff" and len(head) >= 12 else None


def is_placeholder(layout: Layout, size: int) -> bool:
    """Return whether a program that writes to a pipe may have left this size.

    Such programs cannot go back to fill in the size; they leave 0, or a size near the largest
    signed or unsigned one.
    """
    if layout.size_code != "I":
        return size < 0
    return 0x7FFF_0000 <= size <= 0x8000_FFFF or size >= 0xFFFF_0000

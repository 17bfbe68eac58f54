"""A classifier of the data after the declared audio: chunks, tags, padding, or more audio."""

from dataclasses import dataclass
from typing import BinaryIO

from pipeline.decode.headers.riff import MAX_CHUNKS, AudioChunk

_CHUNK_IDS = frozenset(
    (
        b"LIST", b"list", b"bext", b"iXML", b"cue ", b"smpl", b"inst", b"fact", b"JUNK", b"junk",
        b"PAD ", b"FLLR", b"DISP", b"PEAK", b"acid", b"axml", b"chna", b"cart", b"link", b"umid",
        b"minf", b"elm1", b"regn", b"strc", b"afsp", b"levl", b"plst", b"ltxt", b"id3 ", b"ID3 ",
        b"MARK", b"COMT", b"NAME", b"AUTH", b"ANNO", b"(c) ", b"APPL", b"INST", b"MIDI", b"info",
        b"uuid", b"strg", b"free", b"mark", b"ovvw", b"peak", b"edct", b"pakt", b"chan",
    )
)  # fmt: skip
_CONTAINERS = (
    *(b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"riff", b"caff", b"fLaC", b"OggS", b".snd"),
    b"NIST_1A",
)
_NO_AUDIO = (
    *(b"TAG", b"ID3", b"APETAGEX", b"LYRICS", b"3DI", b"<?xml", b"<x:xmpmeta", b"<html", b"%PDF"),
    *(b"PK\3\4", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x1f\x8b"),
)
"""First bytes of tags, pictures and documents."""
JOINED = "another recording that was joined to it"
"""Description of the unread audio in a file that several recordings were joined to."""
_MIN_BYTES = 64
"""Minimum number of bytes after the audio that are examined."""
_SAMPLED_BYTES = 1 << 12
_TEXT = bytes([*b"\t\n\r", *range(0x20, 0x7F)])
_WRAP_BYTES = 1 << 32
"""Number of bytes at which a 32-bit size wraps around to 0."""


@dataclass(frozen=True, slots=True)
class TrailingData:
    """The data after the audio that a header declares.

    Attributes:
        uncounted: Number of bytes of audio that directly follow and that the header does not count.
        unread: Number of bytes of other audio, which decoders do not read.
        description: Description of the other audio, for a message.
    """

    uncounted: int = 0
    unread: int = 0
    description: str = ""


def find_trailing_data(file: BinaryIO, chunk: AudioChunk) -> TrailingData:
    """Describe the data after the audio that a header declares.

    Args:
        file: File opened for reading; its position is moved.
        chunk: Chunk of the audio; its size is known.
    """
    size, layout = chunk.size or 0, chunk.layout
    end = chunk.start + size
    n_bytes = chunk.file_bytes - end
    if n_bytes < _MIN_BYTES:
        return TrailingData()
    if n_bytes >= _WRAP_BYTES and layout.size_code == "I":
        return TrailingData(uncounted=n_bytes // _WRAP_BYTES * _WRAP_BYTES)
    ends = [end]
    if layout.audio_id:
        ends.insert(0, end + -(end - layout.first_chunk_at) % layout.alignment)
    for at in dict.fromkeys(ends):
        file.seek(at)
        content = file.read(_SAMPLED_BYTES)
        if content.startswith(_CONTAINERS):
            return TrailingData(unread=n_bytes, description=JOINED)
        if layout.audio_id and _read_chunk_header(file, at, chunk):
            return _sum_audio_chunks(file, at, chunk)
    return TrailingData(uncounted=n_bytes if _may_be_audio(file, end, n_bytes, content) else 0)


def _read_chunk_header(file: BinaryIO, at: int, chunk: AudioChunk) -> tuple[bytes, int] | None:
    """Return the id and the size of the chunk at an offset; None if likely no chunk begins there.

    Args:
        file: File opened for reading; its position is moved.
        at: Offset in the file.
        chunk: Audio chunk of the same file.
    """
    layout = chunk.layout
    file.seek(at)
    header = file.read(layout.header_bytes)
    if len(header) < layout.header_bytes:
        return None
    name, size = header[: layout.id_bytes], layout.size(header)
    short = name[:4]
    if name[4:] != layout.audio_id[4:] or not all(0x20 <= byte < 0x7F for byte in short):
        return None
    fits = 0 <= size <= chunk.file_bytes - at - len(header) + layout.alignment - 1
    return (name, size) if fits or short in _CHUNK_IDS or name == layout.audio_id else None


def _sum_audio_chunks(file: BinaryIO, at: int, chunk: AudioChunk) -> TrailingData:
    """Sum the audio in further audio chunks from an offset on.

    Args:
        file: File opened for reading; its position is moved.
        at: Offset of the first chunk.
        chunk: Audio chunk of the same file, which comes before.
    """
    layout, unread = chunk.layout, 0
    for _ in range(MAX_CHUNKS):
        found = _read_chunk_header(file, at, chunk)
        if found is None:
            break
        name, size = found
        body = at + layout.header_bytes
        if name == layout.audio_id and size > layout.audio_offset:
            unread += max(0, min(size, chunk.file_bytes - body))
        if size < 0:
            break
        at = body + size + -(body + size - layout.first_chunk_at) % layout.alignment
    if unread < _MIN_BYTES:
        return TrailingData()
    chunk_name = layout.audio_id[:4].decode()
    return TrailingData(
        unread=unread, description=f"another {chunk_name!r} chunk, where one is allowed"
    )


def _may_be_audio(file: BinaryIO, start: int, n_bytes: int, content: bytes) -> bool:
    """Return whether data may be audio samples, and not a tag, a document or padding.

    Args:
        file: File opened for reading; its position is moved.
        start: Offset of the data in the file.
        n_bytes: Length of the data in bytes.
        content: First bytes of the data.
    """
    if content.startswith(_NO_AUDIO) or not content.translate(None, _TEXT):
        return False
    samples = [content]
    for share in (0.25, 0.5, 0.75, 1.0):
        file.seek(start + max(0, round(share * n_bytes) - _SAMPLED_BYTES))
        samples.append(file.read(_SAMPLED_BYTES))
    return any(any(sample) for sample in samples)

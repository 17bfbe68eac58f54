"""Correction of headers that are wrong or unfinished, before a file is passed to a decoder.

The declared length is compared with the size of the file. If the file has more audio than its
header counts, the decoder gets a view of the file with a corrected header. Audio that decoders do
not read even so is reported in the declared length. Intact files are passed on unchanged.
"""

import dataclasses
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from pipeline.decode.audio_stream import AudioStream
from pipeline.decode.headers.declared_length import DeclaredLength, read_declared_length
from pipeline.decode.headers.flat_header import find_au_chunk, read_sphere_length
from pipeline.decode.headers.mp3.tag import ASSUMED_DELAY, read_mp3_info
from pipeline.decode.headers.overlay import Overlay
from pipeline.decode.headers.riff import AudioChunk, find_audio_chunk
from pipeline.decode.headers.unread import TrailingData, find_trailing_data
from pipeline.samples import Samples

_UNIT = "bytes of audio"
"""Unit of the declared lengths, as error messages show it."""
_MAX_HEADER_BYTES = 16 << 20
"""Largest number of bytes before the audio of a file whose header is corrected."""
_MAX_UINT32 = (1 << 32) - 1
_MAX_FORMAT_BYTES = 1 << 16
"""Largest number of bytes of a format chunk that are copied to a corrected header."""
_WAVE_FORMATS = ("RIFF", "RF64")
_CORRECTED_FORMATS = ("CAF", "RF64")
"""Formats that libsndfile refuses if the file ends early or declares a placeholder size.

Their header is corrected in these cases too.
"""
_CODEC_MP3, _CODEC_EXTENSIBLE = 0x55, 0xFFFE
"""Codecs of a WAV. The second one means that a subformat holds the codec."""
_SUBFORMAT_AT = 24
"""Offset of the subformat in the format chunk of a WAV, in bytes."""
_MAX_PADDING = 3 * 1152
"""Largest number of samples by which an MP3 is longer than the audio that was encoded."""


@dataclass(frozen=True, slots=True)
class CorrectedFile:
    """A file as its decoder should read it, with the length that it declares.

    Attributes:
        file: The file itself, or a view of it with a corrected header.
        promise: Length that the file declares; None if it declares none.
        mp3_samples: Number of samples that a WAV with MP3 as its codec declares, if the MP3 itself
            does not; otherwise None.
    """

    file: BinaryIO
    promise: DeclaredLength | None = None
    mp3_samples: int | None = None

    def most_frames(self, n_frames: int | None) -> int | None:
        """Return the number of frames to keep of an MP3 in a WAV; None to keep all frames.

        Args:
            n_frames: Number of decoded frames without the encoder's delay; None if it is unknown.
        """
        declared = self.mp3_samples
        if not declared or n_frames is None:
            return None
        # Some programs include the encoder's delay in the declared count.
        end = declared if declared <= n_frames else declared - ASSUMED_DELAY
        return end if end > 0 and 0 <= n_frames - end <= _MAX_PADDING else None

    def ended(self, stream: AudioStream) -> AudioStream:
        """Return a stream without the padding at the end of an MP3 in a WAV.

        Args:
            stream: The decoder's stream of `file`.
        """
        estimated = stream.estimated_frames
        end = self.most_frames(None if estimated is None else estimated - ASSUMED_DELAY)
        if stream.n_frames is not None or end is None:
            return stream
        return dataclasses.replace(stream, pieces=_limit_frames(stream.pieces, end))


def correct_header(file: BinaryIO) -> CorrectedFile:
    """Return a file as its decoder should read it, with the length that it declares.

    Args:
        file: File opened for reading; its position is moved. It is not closed.
    """
    chunk = find_audio_chunk(file) or find_au_chunk(file)
    if chunk is None:
        sizes = read_sphere_length(file)
        return CorrectedFile(
            file, DeclaredLength(*sizes, _UNIT) if sizes else read_declared_length(file)
        )
    declared = chunk.present_bytes if chunk.size is None else chunk.size
    trailing = TrailingData() if chunk.size is None else find_trailing_data(file, chunk)
    present = min(declared, chunk.present_bytes) + trailing.uncounted
    declared_length = None
    if trailing.unread:
        declared_length = DeclaredLength(
            present + trailing.unread, present, _UNIT, unread=trailing.description
        )
    elif chunk.size:
        declared_length = DeclaredLength(chunk.size, present, _UNIT)
    if chunk.layout.name in _WAVE_FORMATS and _wave_codec(file, chunk) == _CODEC_MP3:
        end = chunk.start + present
        mp3_file = cast(BinaryIO, Overlay(file, b"", chunk.start, end))
        # If the MP3 counts its own frames, that count is better than the WAV's.
        mp3_info = read_mp3_info(mp3_file)
        has_count = mp3_info is not None and mp3_info.has_tag
        return CorrectedFile(
            mp3_file, declared_length, None if has_count else _declared_samples(file, chunk)
        )
    is_right = not (trailing.uncounted or trailing.unread)
    if is_right and (present == chunk.size or chunk.layout.name not in _CORRECTED_FORMATS):
        return CorrectedFile(file, declared_length)
    header = _corrected_header(file, chunk, present)
    if header is None:
        unread = f"the header of {chunk.layout.name} cannot count more than {_MAX_UINT32} bytes"
        known = min(declared, chunk.present_bytes)
        return CorrectedFile(file, DeclaredLength(present, known, _UNIT, unread=unread))
    view = Overlay(file, header, chunk.start, chunk.start + present)
    return CorrectedFile(cast(BinaryIO, view), declared_length)


def _corrected_header(file: BinaryIO, chunk: AudioChunk, size: int) -> bytes | None:
    """Return the bytes before the audio with its size corrected; None if the size cannot be stored.

    Args:
        file: File opened for reading; its position is moved.
        chunk: Chunk of the audio.
        size: Size of the audio in bytes.
    """
    if chunk.layout.name in _WAVE_FORMATS and chunk.format_at:
        return _wave_header(file, chunk, size)
    file.seek(0)
    header = bytearray(file.read(min(chunk.start, _MAX_HEADER_BYTES)))
    if len(header) < chunk.start:
        return None
    if chunk.layout.size_code == "I" and size > _MAX_UINT32:
        if chunk.layout.name != "AU":
            return None
        size = _MAX_UINT32  # in AU it means that the audio extends to the end of the file
    at, packed = chunk.header_at + chunk.layout.id_bytes, chunk.layout.pack_size(size)
    header[at : at + len(packed)] = packed
    return bytes(header)


def _wave_header(file: BinaryIO, chunk: AudioChunk, size: int) -> bytes:
    """Return a new header for a WAV; it is an RF64 header if the audio is too long for a WAV."""
    file.seek(chunk.format_at - 8)
    header = file.read(8)
    header += file.read(min(struct.unpack("<I", header[4:])[0], _MAX_FORMAT_BYTES))
    header = b"WAVE" + header + bytes(len(header) % 2)
    if size + len(header) + 8 <= _MAX_UINT32:
        sizes = struct.pack("<I", size + len(header) + 8)
        return b"RIFF" + sizes + header + b"data" + struct.pack("<I", size)
    unknown = struct.pack("<I", _MAX_UINT32)
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, size + len(header) + 44, size, 0, 0)
    return b"RF64" + unknown + header[:4] + sizes + header[4:] + b"data" + unknown


def _wave_codec(file: BinaryIO, chunk: AudioChunk) -> int:
    """Return the codec number of a WAV; 0 if its header declares none."""
    if not chunk.format_at:
        return 0
    file.seek(chunk.format_at)
    format_chunk = file.read(_SUBFORMAT_AT + 2)
    if len(format_chunk) < 2:
        return 0
    codec = int.from_bytes(format_chunk[:2], "little")
    return (
        int.from_bytes(format_chunk[_SUBFORMAT_AT:], "little")
        if codec == _CODEC_EXTENSIBLE
        else codec
    )


def _declared_samples(file: BinaryIO, chunk: AudioChunk) -> int | None:
    """Return the number of samples in the `fact` chunk of a WAV; None if there is none."""
    if not chunk.count_at:
        return None
    file.seek(chunk.count_at)
    return int.from_bytes(file.read(4), "little") or None


def _limit_frames(pieces: Iterator[Samples], n_frames: int) -> Iterator[Samples]:
    """Yield the first `n_frames` frames of a stream."""
    for piece in pieces:
        if n_frames <= 0:
            return
        yield piece[:n_frames]
        n_frames -= len(piece)

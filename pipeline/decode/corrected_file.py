"""Correcting the header of a file that is wrong or was never finished, for its decoder.

The declared length is compared with the bytes of the file. Audio that the header does not count is
added to it. Audio that cannot be added is reported in the declared length. Sound files are
unchanged.
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
_MOST_HEAD_BYTES = 16 << 20
_MOST_32_BITS = (1 << 32) - 1
_MOST_FORMAT_BYTES = 1 << 16
_WAVE = ("RIFF", "RF64")
_MISREAD = ("CAF", "RF64")
"""Formats in which libsndfile refuses a file that ends early, or has a placeholder as its size."""
_MP3, _EXTENSIBLE = 0x55, 0xFFFE
_SUBFORMAT_AT = 24
_MOST_FILLING = 3 * 1152
"""Largest number of samples by which an MP3 is longer than the audio it was made from."""


@dataclass(frozen=True, slots=True)
class CorrectedFile:
    """A file as its decoder should read it.

    Attributes:
        file: The file, or a view of it under another header.
        promise: What the file declares.
        mp3_samples: Number of samples that a WAV declares whose codec is MP3; None for others.
    """

    file: BinaryIO
    promise: DeclaredLength | None = None
    mp3_samples: int | None = None

    def most_frames(self, n_frames: int | None) -> int | None:
        """Return at which frame the audio ends; None where the decoder ends right.

        Args:
            n_frames: Frames that the decoder makes, without the delay of the encoder.
        """
        declared = self.mp3_samples
        if not declared or n_frames is None:
            return None
        # Some programs count the delay of the encoder, some do not.
        end = declared if declared <= n_frames else declared - ASSUMED_DELAY
        return end if end > 0 and 0 <= n_frames - end <= _MOST_FILLING else None

    def ended(self, sound: AudioStream) -> AudioStream:
        """Return a sound without what fills its last block.

        Args:
            sound: The sound that the decoder makes of the file.
        """
        about = sound.estimated_frames
        end = self.most_frames(None if about is None else about - ASSUMED_DELAY)
        if sound.n_frames is not None or end is None:
            return sound
        return dataclasses.replace(sound, pieces=_up_to(sound.pieces, end))


def correct_header(file: BinaryIO) -> CorrectedFile:
    """Return a recording as its decoder should see it, and what it declares.

    Args:
        file: File opened for reading; its position is moved. It stays open.
    """
    chunk = find_audio_chunk(file) or find_au_chunk(file)
    if chunk is None:
        sizes = read_sphere_length(file)
        return CorrectedFile(
            file, DeclaredLength(*sizes, _UNIT) if sizes else read_declared_length(file)
        )
    declared = chunk.present_bytes if chunk.size is None else chunk.size
    behind = TrailingData() if chunk.size is None else find_trailing_data(file, chunk)
    present = min(declared, chunk.present_bytes) + behind.uncounted
    promise = None
    if behind.unread:
        promise = DeclaredLength(present + behind.unread, present, _UNIT, unread=behind.description)
    elif chunk.size:
        promise = DeclaredLength(chunk.size, present, _UNIT)
    if chunk.layout.name in _WAVE and _codec(file, chunk) == _MP3:
        end = chunk.start + present
        mp3 = cast(BinaryIO, Overlay(file, b"", chunk.start, end))
        mpeg = read_mp3_info(mp3)  # whose own count, where it has one, is better
        has_count = mpeg is not None and mpeg.has_tag
        return CorrectedFile(mp3, promise, None if has_count else _declared_samples(file, chunk))
    is_right = not (behind.uncounted or behind.unread)
    if is_right and (present == chunk.size or chunk.layout.name not in _MISREAD):
        return CorrectedFile(file, promise)
    head = _head(file, chunk, present)
    if head is None:
        what = f"the header of {chunk.layout.name} cannot count more than {_MOST_32_BITS} bytes"
        known = min(declared, chunk.present_bytes)
        return CorrectedFile(file, DeclaredLength(present, known, _UNIT, unread=what))
    view = Overlay(file, head, chunk.start, chunk.start + present)
    return CorrectedFile(cast(BinaryIO, view), promise)


def _head(file: BinaryIO, chunk: AudioChunk, size: int) -> bytes | None:
    """Return the bytes before the audio, that declare its right size; None if they cannot."""
    if chunk.layout.name in _WAVE and chunk.format_at:
        return _wave_head(file, chunk, size)
    file.seek(0)
    head = bytearray(file.read(min(chunk.start, _MOST_HEAD_BYTES)))
    if len(head) < chunk.start:
        return None
    if chunk.layout.size_code == "I" and size > _MOST_32_BITS:
        if chunk.layout.name != "AU":
            return None
        size = _MOST_32_BITS  # which means: as far as the file goes
    at, packed = chunk.header_at + chunk.layout.id_bytes, chunk.layout.pack_size(size)
    head[at : at + len(packed)] = packed
    return bytes(head)


def _wave_head(file: BinaryIO, chunk: AudioChunk, size: int) -> bytes:
    """Return the header of a WAV, or of an RF64 where it is too long for that."""
    file.seek(chunk.format_at - 8)
    head = file.read(8)
    head += file.read(min(struct.unpack("<I", head[4:])[0], _MOST_FORMAT_BYTES))
    head = b"WAVE" + head + bytes(len(head) % 2)
    if size + len(head) + 8 <= _MOST_32_BITS:
        sizes = struct.pack("<I", size + len(head) + 8)
        return b"RIFF" + sizes + head + b"data" + struct.pack("<I", size)
    unknown = struct.pack("<I", _MOST_32_BITS)
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, size + len(head) + 44, size, 0, 0)
    return b"RF64" + unknown + head[:4] + sizes + head[4:] + b"data" + unknown


def _codec(file: BinaryIO, chunk: AudioChunk) -> int:
    """Return the codec of a WAV as its header numbers it; 0 where it does not say."""
    if not chunk.format_at:
        return 0
    file.seek(chunk.format_at)
    described = file.read(_SUBFORMAT_AT + 2)
    if len(described) < 2:
        return 0
    codec = int.from_bytes(described[:2], "little")
    return int.from_bytes(described[_SUBFORMAT_AT:], "little") if codec == _EXTENSIBLE else codec


def _declared_samples(file: BinaryIO, chunk: AudioChunk) -> int | None:
    """Return the number of samples that a WAV declares apart from its size; None for none."""
    if not chunk.count_at:
        return None
    file.seek(chunk.count_at)
    return int.from_bytes(file.read(4), "little") or None


def _up_to(pieces: Iterator[Samples], n_frames: int) -> Iterator[Samples]:
    for piece in pieces:
        if n_frames <= 0:
            return
        yield piece[:n_frames]
        n_frames -= len(piece)

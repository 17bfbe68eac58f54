"""A reader of the real length of a FLAC, independent of the length in its header.

The sample count in the header may be wrong. A program that writes to a pipe cannot fill it in, a
recorder may lose power, and a file may be cut or joined. Every frame header holds the frame's
position in the stream, so the last complete frame gives the length. Only the end of the file is
read for it.
"""

import dataclasses
import io
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

import soundfile

from pipeline.decode.headers.flac.crc16 import has_valid_crc16
from pipeline.decode.headers.flac.frame import (
    MAX_FRAME_HEADER_BYTES,
    STREAM_BYTES,
    FlacFrame,
    FlacStream,
    iter_frames_backwards,
    read_frame,
    read_streaminfo,
    replace_sample_count,
)
from pipeline.decode.headers.flac.joined import find_flac_starts, may_be_joined
from pipeline.decode.headers.overlay import Overlay
from pipeline.decode.headers.tags import skip_id3
from pipeline.errors import CannotDecodeError

_MAX_BLOCKS = 1000
_FIRST_TAIL_BYTES, _MAX_TAIL_BYTES = 1 << 15, 1 << 22
_MAX_CANDIDATES, _MAX_ENDS = 32, 3
_MAX_EXTRA_BYTES = 1 << 12
"""Number of bytes by which a frame may be larger than its samples, with a margin."""
_TAG, _TAG_BYTES = b"TAG", 128
_APE, _APE_BYTES = b"APETAGEX", 32


@dataclass(frozen=True, slots=True)
class FlacAudio:
    """A FLAC that takes a whole file or a part of it. All offsets count from the file's start.

    Attributes:
        start: Offset of the FLAC's signature.
        frames_at: Offset of its first frame.
        end: Offset after its last byte.
        stream: STREAMINFO of the FLAC.
        first: Index of its first sample. Not 0 if the FLAC was cut out of a longer one.
        n_samples: Number of samples per channel in its complete frames; None if no frame is found.
        other_starts: Offsets of the FLACs that follow in the same file. Empty if the file was not
            searched for them.
    """

    start: int
    frames_at: int
    end: int
    stream: FlacStream
    first: int
    n_samples: int | None
    other_starts: tuple[int, ...] = ()


def find_flac_audio(file: BinaryIO, *, is_exhaustive: bool = False) -> FlacAudio | None:
    """Return the first FLAC of a file with its real length; None if the file is no FLAC.

    The whole file is searched for further FLACs if the last frame disagrees with the header, or if
    a few frames suggest that FLACs were joined.

    Args:
        file: File opened for reading; its position is moved.
        is_exhaustive: Whether to search the whole file in any case.
    """
    start = skip_id3(file)
    audio = read_flac_part(file, start, file.seek(0, os.SEEK_END))
    if audio is None:
        return None
    declared, present = audio.stream.n_samples, audio.n_samples or 0
    if not is_exhaustive and not 0 < declared < present:
        is_exhaustive = may_be_joined(file, audio.frames_at, audio.end, present, audio.stream)
    others = (
        find_flac_starts(file, start + STREAM_BYTES) if is_exhaustive or present != declared else []
    )
    if not others:
        return audio
    first = read_flac_part(file, start, others[0])
    return first and dataclasses.replace(first, other_starts=tuple(others))


def read_flac_part(file: BinaryIO, start: int, end: int) -> FlacAudio | None:
    """Return the FLAC in a range of a file with its real length; None if the range holds none.

    Args:
        file: File opened for reading; its position is moved.
        start: Offset of the signature.
        end: Offset after the last byte of the range.
    """
    file.seek(start)
    stream = read_streaminfo(file.read(STREAM_BYTES))
    if stream is None:
        return None
    frames_at = _find_frames(file, start, end)
    stream, first = _first_frame(file, frames_at, stream)
    last = _last_sample(file, frames_at, end, stream)
    n_samples = None if last is None else max(0, last - first)
    return FlacAudio(start, frames_at, end, stream, first, 0 if frames_at >= end else n_samples)


def _first_frame(file: BinaryIO, frames_at: int, stream: FlacStream) -> tuple[FlacStream, int]:
    """Return STREAMINFO, corrected by the first frame, and the index of the first sample.

    Frame headers may hold a frame number instead of a sample index. All frames then have one
    length, and the first frame shows it even if STREAMINFO is damaged.
    """
    file.seek(frames_at)
    header = file.read(MAX_FRAME_HEADER_BYTES)
    frame = read_frame(header, stream)
    if frame and not stream.is_fixed and not header[1] & 1:
        stream = dataclasses.replace(stream, max_block_samples=frame.n_samples)
        frame = read_frame(header, stream)
    return stream, frame.first if frame else 0


def iter_other_parts(file: BinaryIO, audio: FlacAudio) -> Iterator[FlacAudio]:
    """Yield the FLACs that follow the first FLAC of a file.

    Args:
        file: File opened for reading; its position is moved.
        audio: First FLAC of the file.
    """
    end = file.seek(0, os.SEEK_END)
    for start, next_start in itertools.pairwise([*audio.other_starts, end]):
        part = read_flac_part(file, start, next_start)
        if part and (part.n_samples or part.stream.n_samples):
            yield part


def check_fits(part: FlacAudio, stream: FlacStream) -> None:
    """Raise ValueError if a FLAC differs from the first one in sample rate or channels.

    Args:
        part: The FLAC to check.
        stream: STREAMINFO of the first FLAC of the file.
    """
    new, old = part.stream, stream
    if (new.sample_rate_hz, new.channels) != (old.sample_rate_hz, old.channels):
        raise ValueError(
            f"changes from {old.sample_rate_hz} Hz with {old.channels} channels to "
            f"{new.sample_rate_hz} Hz with {new.channels}; split it there"
        )


def check_whole(part: FlacAudio, n_decoded: int | None = None) -> None:
    """Raise CannotDecodeError if one of several FLACs in a file is shorter than declared.

    Args:
        part: The FLAC to check.
        n_decoded: Number of samples that it decoded to; None to use the number in its frames.
    """
    present = part.n_samples or 0
    declared = max(part.stream.n_samples, present)
    present = present if n_decoded is None else n_decoded
    if present < declared:
        raise CannotDecodeError(
            "truncated",
            f"several FLACs were joined in this file, and one of them, at byte {part.start}, "
            f"declares {declared} frames and holds {present}; split the file, or make it again",
        )


def open_corrected(file: BinaryIO, audio: FlacAudio) -> BinaryIO:
    """Open a FLAC as a virtual file whose header declares the real number of samples.

    Args:
        file: File opened for reading; its position is moved. It is not closed.
        audio: The FLAC to open; its `n_samples` must be known.
    """
    assert audio.n_samples is not None
    file.seek(audio.start)
    header = replace_sample_count(file.read(STREAM_BYTES), audio.n_samples)
    return cast(BinaryIO, Overlay(file, header, audio.start + STREAM_BYTES, audio.end))


def _find_frames(file: BinaryIO, start: int, end: int) -> int:
    """Return the offset of the first frame, after all metadata blocks."""
    at = start + 4
    for _ in range(_MAX_BLOCKS):
        file.seek(at)
        header = file.read(4)
        if len(header) < 4:
            return end
        at += 4 + int.from_bytes(header[1:], "big")
        if header[0] & 0x80:
            break
    return min(at, end)


def _last_sample(file: BinaryIO, start: int, end: int, stream: FlacStream) -> int | None:
    """Return the index of the sample after the last complete frame; None if none is found."""
    n_bytes = max(_FIRST_TAIL_BYTES, 2 * stream.max_frame_bytes)
    while True:
        tail_at = max(start, end - n_bytes)
        file.seek(tail_at)
        tail = _strip_tags(file.read(end - tail_at))
        found = _last_sample_in(tail, stream)
        if found is not None or tail_at == start or n_bytes >= _MAX_TAIL_BYTES:
            return found
        n_bytes = min(8 * n_bytes, _MAX_TAIL_BYTES)


def _last_sample_in(tail: bytes, stream: FlacStream) -> int | None:
    """Return the index of the sample after the last complete frame in the end of a file."""
    last: FlacFrame | None = None
    max_bytes = stream.max_block_samples * stream.channels * 4 + _MAX_EXTRA_BYTES
    ends = [len(tail)]
    for at, frame in itertools.islice(iter_frames_backwards(tail, stream), _MAX_CANDIDATES):
        # Bytes inside a frame may look like a frame header by chance. The real frame before them
        # then has a valid CRC only with a later end, so several ends are tried.
        for end in ends[-_MAX_ENDS:]:
            if end - at <= max_bytes and has_valid_crc16(tail[at:end]):
                return frame.end
        if last is None and _is_decodable(tail[at : at + max_bytes], frame, stream):
            return frame.end  # other data follows the frame
        last = last or frame
        ends.append(at)
    return None


def _is_decodable(content: bytes, frame: FlacFrame, stream: FlacStream) -> bool:
    """Return whether the frame at the start of some bytes decodes, regardless of what follows.

    Args:
        content: Bytes from the start of the frame on.
        frame: Header of the frame.
        stream: STREAMINFO of the file.
    """
    header = bytearray(replace_sample_count(stream.header, frame.n_samples))
    header[4] |= 0x80  # marks STREAMINFO as the last metadata block
    try:
        with soundfile.SoundFile(io.BytesIO(bytes(header) + content)) as decoder:
            return len(decoder.read(frame.n_samples)) == frame.n_samples
    except (soundfile.SoundFileError, RuntimeError):
        return False


def _strip_tags(content: bytes) -> bytes:
    """Return the end of a file without ID3v1 and APE tags after the audio."""
    if content[-_TAG_BYTES:].startswith(_TAG):
        content = content[:-_TAG_BYTES]
    footer = content[-_APE_BYTES:]
    if footer.startswith(_APE):
        size = int.from_bytes(footer[12:16], "little")
        has_header = bool(footer[23] & 0x80)
        content = content[: -min(len(content), size + (_APE_BYTES if has_header else 0)) or None]
    return content

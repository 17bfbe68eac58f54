"""How many samples a FLAC really holds, whatever its header says.

Writers to a pipe cannot go back to count the samples in the header, recorders that lose power and
files that were cut or joined count too many or too few. Each frame has its own place in the
recording in its header, so the last whole frame says how many there are; only the end of the file
is read for that.
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

_MOST_BLOCKS = 1000
_FIRST_TAIL, _MOST_TAIL = 1 << 15, 1 << 22
_MOST_CANDIDATES, _MOST_ENDS = 32, 3
_MOST_EXTRA_BYTES = 1 << 12
"""Bytes by which a frame may be larger than its samples, with a margin."""
_TAG, _TAG_BYTES = b"TAG", 128
_APE, _APE_BYTES = b"APETAGEX", 32


@dataclass(frozen=True, slots=True)
class FlacAudio:
    """A FLAC, or the first one of several in a file.

    Attributes:
        start: Offset of its signature.
        frames_at: Offset of its first frame.
        end: Offset after its last byte.
        stream: What its header says.
        first: Number of its first sample, which is not 0 where it was cut out of another.
        n_samples: Number of samples in its whole frames; None where no frame is found.
        others: Offsets of the FLACs that follow in the same file, as far as it had to be read.
    """

    start: int
    frames_at: int
    end: int
    stream: FlacStream
    first: int
    n_samples: int | None
    other_starts: tuple[int, ...] = ()


def find_flac_audio(file: BinaryIO, *, is_exhaustive: bool = False) -> FlacAudio | None:
    """Return what a FLAC holds, or the first one of a file; None where the file is none.

    The whole file is searched for more FLACs where its end does not fit to its header, and where a
    few of its frames look as if there were more.

    Args:
        file: File opened for reading; its position is moved.
        is_searched: Whether to search whatever the header and the frames say.
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
    """Return what one FLAC holds that has a range of a file to itself; None where it is none.

    Args:
        file: File opened for reading; its position is moved.
        start: Offset of its signature.
        end: Offset after its last byte.
    """
    file.seek(start)
    stream = read_streaminfo(file.read(STREAM_BYTES))
    if stream is None:
        return None
    frames_at = _after_blocks(file, start, end)
    stream, first = _first_frame(file, frames_at, stream)
    last = _last_sample(file, frames_at, end, stream)
    n_samples = None if last is None else max(0, last - first)
    return FlacAudio(start, frames_at, end, stream, first, 0 if frames_at >= end else n_samples)


def _first_frame(file: BinaryIO, frames_at: int, stream: FlacStream) -> tuple[FlacStream, int]:
    """Return the header as its first frame corrects it, and the number of its first sample.

    Frames that are numbered are of one length, whatever a damaged header says of it.
    """
    file.seek(frames_at)
    head = file.read(MAX_FRAME_HEADER_BYTES)
    frame = read_frame(head, stream)
    if frame and not stream.is_fixed and not head[1] & 1:
        stream = dataclasses.replace(stream, max_block_samples=frame.n_samples)
        frame = read_frame(head, stream)
    return stream, frame.first if frame else 0


def iter_other_parts(file: BinaryIO, audio: FlacAudio) -> Iterator[FlacAudio]:
    """Yield the FLACs that follow the first one in a file.

    Args:
        file: File opened for reading; its position is moved.
        audio: The first one.
    """
    end = file.seek(0, os.SEEK_END)
    for start, behind in itertools.pairwise([*audio.other_starts, end]):
        part = read_flac_part(file, start, behind)
        if part and (part.n_samples or part.stream.n_samples):
            yield part


def check_fits(part: FlacAudio, stream: FlacStream) -> None:
    """Raise ValueError if a FLAC cannot be joined to another one.

    Args:
        part: The FLAC.
        stream: What the header of the other one says.
    """
    ours, theirs = part.stream, stream
    if (ours.sample_rate_hz, ours.channels) != (theirs.sample_rate_hz, theirs.channels):
        raise ValueError(
            f"changes from {theirs.sample_rate_hz} Hz with {theirs.channels} channels to "
            f"{ours.sample_rate_hz} Hz with {ours.channels}; split it there"
        )


def check_whole(part: FlacAudio, n_decoded: int | None = None) -> None:
    """Raise CannotDecodeError if one of several FLACs in a file holds less than it declares.

    Args:
        part: The FLAC.
        n_decoded: Number of samples that the decoder made of it; None for those that its frames
            say.
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
    """Return a FLAC as a file whose header counts the samples that are there.

    Args:
        file: File opened for reading; its position is moved. It stays open.
        audio: What it holds; `n_samples` is known.
    """
    assert audio.n_samples is not None
    file.seek(audio.start)
    head = replace_sample_count(file.read(STREAM_BYTES), audio.n_samples)
    return cast(BinaryIO, Overlay(file, head, audio.start + STREAM_BYTES, audio.end))


def _after_blocks(file: BinaryIO, start: int, end: int) -> int:
    """Return where the frames begin, after the blocks of metadata."""
    at = start + 4
    for _ in range(_MOST_BLOCKS):
        file.seek(at)
        head = file.read(4)
        if len(head) < 4:
            return end
        at += 4 + int.from_bytes(head[1:], "big")
        if head[0] & 0x80:
            break
    return min(at, end)


def _last_sample(file: BinaryIO, start: int, end: int, stream: FlacStream) -> int | None:
    """Return the number of the sample after the last whole frame; None where there is none."""
    n_bytes = max(_FIRST_TAIL, 2 * stream.max_frame_bytes)
    while True:
        tail_at = max(start, end - n_bytes)
        file.seek(tail_at)
        tail = _without_tags(file.read(end - tail_at))
        found = _last_in(tail, stream)
        if found is not None or tail_at == start or n_bytes >= _MOST_TAIL:
            return found
        n_bytes = min(8 * n_bytes, _MOST_TAIL)


def _last_in(tail: bytes, stream: FlacStream) -> int | None:
    """Return the number of the sample after the last frame that is whole in the end of a file."""
    last: FlacFrame | None = None
    most_bytes = stream.max_block_samples * stream.channels * 4 + _MOST_EXTRA_BYTES
    ends = [len(tail)]
    for at, frame in itertools.islice(iter_frames_backwards(tail, stream), _MOST_CANDIDATES):
        # Of chance bytes that look like the header of a frame, an earlier one shows that they are.
        for end in ends[-_MOST_ENDS:]:
            if end - at <= most_bytes and has_valid_crc16(tail[at:end]):
                return frame.end
        if last is None and _is_decodable(tail[at : at + most_bytes], frame, stream):
            return frame.end  # something else comes after it
        last = last or frame
        ends.append(at)
    return None


def _is_decodable(content: bytes, frame: FlacFrame, stream: FlacStream) -> bool:
    """Return whether the frame can be decoded that bytes begin with, whatever comes after it."""
    alone = bytearray(replace_sample_count(stream.header, frame.n_samples))
    alone[4] |= 0x80  # no other block of metadata follows
    try:
        with soundfile.SoundFile(io.BytesIO(bytes(alone) + content)) as sound:
            return len(sound.read(frame.n_samples)) == frame.n_samples
    except (soundfile.SoundFileError, RuntimeError):
        return False


def _without_tags(content: bytes) -> bytes:
    """Return the end of a file without tags of other formats that were put behind the audio."""
    if content[-_TAG_BYTES:].startswith(_TAG):
        content = content[:-_TAG_BYTES]
    footer = content[-_APE_BYTES:]
    if footer.startswith(_APE):
        size = int.from_bytes(footer[12:16], "little")
        has_header = bool(footer[23] & 0x80)
        content = content[: -min(len(content), size + (_APE_BYTES if has_header else 0)) or None]
    return content

"""Decoding of an MP3 by libsndfile up to its last frame, after its frames have been counted.

libsndfile stops at the end that the tag or the first frames of an MP3 suggest, and fails if much
other data follows the frames. It is therefore given a virtual file that seems to have no end and
holds only the frames. This is faster than FFmpeg, gives the same samples as a file with a declared
length, and skips the tags between files that were joined, which FFmpeg refuses.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

from pipeline.decode.audio_stream import AudioStream
from pipeline.decode.headers.mp3.frame_header import HEADER_BYTES, parse_frame_header
from pipeline.decode.headers.mp3.frames import Mp3Frames
from pipeline.decode.headers.mp3.tag import Mp3Info
from pipeline.decode.headers.tags import ID3V1_BYTES, skip_id3
from pipeline.decode.unbounded_file import UnboundedFile
from pipeline.errors import CannotDecodeError
from pipeline.samples import Samples

_MAX_MISSING_FRAMES = 16
"""Largest number of frames that may be missing before an MP3 counts as undecodable."""
_MAX_MISSING_PER_GAP = 3
"""Largest number of further frames that may be missing per gap between frames."""
_SKIPPED_AT_START = 2
"""Largest number of frames at the start that a decoder skips.

They are the frame that holds the tag, and a frame that needs data of the frame before it.
"""

Decoder = Callable[[BinaryIO], Any]


def check_frames(mp3_info: Mp3Info, frames: Mp3Frames) -> None:
    """Raise CannotDecodeError if an MP3 holds no frame besides the frame with its tag.

    Args:
        mp3_info: Tag in the first frame.
        frames: Summary of the frames in the file.

    Raises:
        CannotDecodeError: The file holds a tag and no audio.
    """
    if not mp3_info.has_tag or frames.n_samples > mp3_info.frame_samples:
        return
    if mp3_info.n_frames:
        raise CannotDecodeError(
            "truncated",
            f"its tag counts {mp3_info.n_frames} MP3 frames, and none follows it; "
            "fetch the file again",
        )
    raise CannotDecodeError("empty", "holds an MP3 tag and no audio after it")


@contextlib.contextmanager
def open_mp3_to_end(
    file: BinaryIO, mp3_info: Mp3Info, frames: Mp3Frames, open_libsndfile: Decoder
) -> Iterator[AudioStream]:
    """Open an MP3 so that all frames that were counted are decoded.

    Args:
        file: File opened for reading; its position is moved.
        mp3_info: Tag in the first frame.
        frames: Summary of the frames in the file.
        open_libsndfile: Function that opens a file with libsndfile.

    Raises:
        ValueError: The sample rate or the number of channels changes within the file.
    """
    if not frames.is_uniform:
        raise ValueError("stops where the sample rate or the channels change")
    n_samples = frames.n_samples
    with contextlib.ExitStack() as stack:
        stream: AudioStream | None = None
        if is_joined(mp3_info, frames):
            # The tag counts the frames of the first file only, and libsndfile would stop there. The
            # virtual file therefore begins after the frame with the tag.
            start = skip_id3(file)
            file.seek(start)
            tag = parse_frame_header(file.read(HEADER_BYTES))
            assert tag
            view = UnboundedFile(file, frames.end, start + tag.n_bytes)
            stream = stack.enter_context(open_libsndfile(cast(BinaryIO, view)))
            n_samples -= mp3_info.frame_samples + mp3_info.n_before
            stream = dataclasses.replace(
                stream, pieces=drop_first_frames(stream.pieces, mp3_info.n_before)
            )
        elif mp3_info.n_frames is not None:
            stream = stack.enter_context(open_libsndfile(file))
            yield dataclasses.replace(stream, losses=_describe_gaps(frames), is_cut=frames.is_cut)
            return
        elif _has_no_trailing_data(file, frames):
            stream = stack.enter_context(open_libsndfile(file))
            if stream.estimated_frames is not None and stream.estimated_frames < n_samples:
                stack.close()
                stream = None
        if stream is None:
            view = UnboundedFile(file, frames.end)
            stream = stack.enter_context(open_libsndfile(cast(BinaryIO, view)))
        losses = _describe_gaps(frames)
        pieces = _check_length(
            stream.pieces, n_samples, mp3_info.frame_samples, frames.n_gaps, losses
        )
        yield dataclasses.replace(
            stream, pieces=pieces, estimated_frames=n_samples, losses=losses, is_cut=frames.is_cut
        )


def is_joined(mp3_info: Mp3Info, frames: Mp3Frames) -> bool:
    """Return whether an MP3 has more frames than its tag counts, as several joined files have.

    Args:
        mp3_info: Tag in the first frame.
        frames: Summary of the frames in the file.
    """
    if mp3_info.n_frames is None:
        return False
    return frames.n_samples > (mp3_info.n_frames + _SKIPPED_AT_START) * mp3_info.frame_samples


def drop_first_frames(pieces: Iterator[Samples], n_frames: int) -> Iterator[Samples]:
    """Yield the audio without its first frames.

    Args:
        pieces: Pieces of audio, float32 (frames, channels).
        n_frames: Number of frames to drop.
    """
    for piece in pieces:
        if len(piece) > n_frames:
            yield piece[n_frames:]
        n_frames = max(0, n_frames - len(piece))


def _has_no_trailing_data(file: BinaryIO, frames: Mp3Frames) -> bool:
    """Return whether the file ends with its last frame, or with an ID3v1 tag after it.

    libsndfile skips an ID3v1 tag.
    """
    if frames.is_cut:
        return False
    n_bytes = file.seek(0, os.SEEK_END) - frames.end
    file.seek(frames.end)
    return n_bytes == 0 or (n_bytes == ID3V1_BYTES and file.read(3) == b"TAG")


def _describe_gaps(frames: Mp3Frames) -> list[str]:
    """Return the losses of an MP3: a phrase if there are gaps between its frames."""
    if not frames.n_gaps:
        return []
    return [f"data that is not MP3 lies between its frames, {frames.n_gaps} times"]


def _check_length(
    pieces: Iterator[Samples], n_expected: int, frame_samples: int, n_gaps: int, losses: list[str]
) -> Iterator[Samples]:
    """Yield the pieces, and check their total length.

    Args:
        pieces: Pieces of audio, float32 (frames, channels).
        n_expected: Number of samples per channel that the frames should decode to.
        frame_samples: Number of samples per channel in an MP3 frame.
        n_gaps: Number of gaps between MP3 frames.
        losses: List to which a phrase is appended if some samples are missing.

    Raises:
        ValueError: So many samples are missing that damage must have stopped the decoder.
    """
    n = 0
    for piece in pieces:
        n += len(piece)
        yield piece
    max_missing = frame_samples * (_MAX_MISSING_FRAMES + _MAX_MISSING_PER_GAP * n_gaps)
    if n < n_expected - max_missing:
        raise ValueError(
            f"stops after {n} of more than {n_expected - max_missing} samples, where it is damaged"
        )
    if n < n_expected - _SKIPPED_AT_START * frame_samples:
        losses.append(f"only {n} of {n_expected} samples can be decoded")

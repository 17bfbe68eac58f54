"""Decoding an MP3 by libsndfile up to its last frame, after its frames were counted.

libsndfile ends such a file where its count or its first frames let it expect the end, and fails if
much data follows that is no frame. So it reads a file that seems to have no end and has only the
frames. This is faster than FFmpeg, gives the same samples as a file of known length, and skips the
tags between files that were joined, which FFmpeg refuses.
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

_MOST_UNFOUND = 16
"""Frames that may go missing before the decoder counts as stopped by damage."""
_UNFOUND_PER_GAP = 3
_FEW_UNFOUND = 2
"""Frames at the start that a decoder leaves out: the tag's, and one that needs what came before."""

Decoder = Callable[[BinaryIO], Any]


def check_frames(mpeg: Mp3Info, frames: Mp3Frames) -> None:
    """Check that there are frames besides the one that holds the tag.

    Args:
        mpeg: What the first frame says.
        frames: All frames that are there.

    Raises:
        CannotDecodeError: There are none.
    """
    if not mpeg.has_tag or frames.n_samples > mpeg.frame_samples:
        return
    if mpeg.n_frames:
        raise CannotDecodeError(
            "truncated",
            f"its tag counts {mpeg.n_frames} MP3 frames, and none follows it; fetch the file again",
        )
    raise CannotDecodeError("empty", "holds an MP3 tag and no audio after it")


@contextlib.contextmanager
def open_mp3_to_end(
    file: BinaryIO, mpeg: Mp3Info, frames: Mp3Frames, by_libsndfile: Decoder
) -> Iterator[AudioStream]:
    """Open an MP3 whose frames were counted.

    Args:
        file: File opened for reading; its position is moved.
        mpeg: What the first frame says.
        frames: All frames.
        by_libsndfile: Opens a file with libsndfile.

    Raises:
        ValueError: The sample rate or the channels change in it.
    """
    if not frames.is_uniform:
        raise ValueError("stops where the sample rate or the channels change")
    n_samples = frames.n_samples
    with contextlib.ExitStack() as stack:
        sound: AudioStream | None = None
        if is_joined(mpeg, frames):
            # Without its tag the file counts nothing, and so no part of it only.
            start = skip_id3(file)
            file.seek(start)
            tag = parse_frame_header(file.read(HEADER_BYTES))
            assert tag
            view = UnboundedFile(file, frames.end, start + tag.n_bytes)
            sound = stack.enter_context(by_libsndfile(cast(BinaryIO, view)))
            n_samples -= mpeg.frame_samples + mpeg.n_before
            sound = dataclasses.replace(
                sound, pieces=drop_first_frames(sound.pieces, mpeg.n_before)
            )
        elif mpeg.n_frames is not None:
            sound = stack.enter_context(by_libsndfile(file))
            yield dataclasses.replace(sound, losses=_gaps(frames), is_cut=frames.is_cut)
            return
        elif _is_followed_by_nothing(file, frames):
            sound = stack.enter_context(by_libsndfile(file))
            if sound.estimated_frames is not None and sound.estimated_frames < n_samples:
                stack.close()
                sound = None
        if sound is None:
            view = UnboundedFile(file, frames.end)
            sound = stack.enter_context(by_libsndfile(cast(BinaryIO, view)))
        losses = _gaps(frames)
        pieces = _no_fewer(sound.pieces, n_samples, mpeg.frame_samples, frames.n_gaps, losses)
        yield dataclasses.replace(
            sound, pieces=pieces, estimated_frames=n_samples, losses=losses, is_cut=frames.is_cut
        )


def is_joined(mpeg: Mp3Info, frames: Mp3Frames) -> bool:
    """Return whether there are more frames than the tag counts."""
    if mpeg.n_frames is None:
        return False
    return frames.n_samples > (mpeg.n_frames + _FEW_UNFOUND) * mpeg.frame_samples


def drop_first_frames(pieces: Iterator[Samples], n_frames: int) -> Iterator[Samples]:
    """Leave out the first samples.

    Args:
        pieces: Samples, piece by piece.
        n_frames: Number of samples of each channel to leave out.
    """
    for piece in pieces:
        if len(piece) > n_frames:
            yield piece[n_frames:]
        n_frames = max(0, n_frames - len(piece))


def _is_followed_by_nothing(file: BinaryIO, frames: Mp3Frames) -> bool:
    """Return whether at most an ID3v1 tag, which libsndfile knows, follows the last frame."""
    if frames.is_cut:
        return False
    n_bytes = file.seek(0, os.SEEK_END) - frames.end
    file.seek(frames.end)
    return n_bytes == 0 or (n_bytes == ID3V1_BYTES and file.read(3) == b"TAG")


def _gaps(frames: Mp3Frames) -> list[str]:
    if not frames.n_gaps:
        return []
    return [f"something that is not MP3 lies between its frames, in {frames.n_gaps} places"]


def _no_fewer(
    pieces: Iterator[Samples], n_expected: int, frame_samples: int, n_gaps: int, losses: list[str]
) -> Iterator[Samples]:
    n = 0
    for piece in pieces:
        n += len(piece)
        yield piece
    most = frame_samples * (_MOST_UNFOUND + _UNFOUND_PER_GAP * n_gaps)
    if n < n_expected - most:
        raise ValueError(
            f"stops after {n} of more than {n_expected - most} samples, where it is damaged"
        )
    if n < n_expected - _FEW_UNFOUND * frame_samples:
        losses.append(f"only {n} of {n_expected} samples can be decoded")

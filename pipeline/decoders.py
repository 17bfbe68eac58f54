"""A file to float32 frames by libsndfile or by FFmpeg, whichever knows the format and is faster.

libsndfile goes first, and FFmpeg (through PyAV) takes what it does not know. Vorbis and Opus go to
FFmpeg first, which decodes them twice as fast; what a file is, its first bytes say and not its
name. Both give the same samples: they take off the same encoder delays, where the file has them;
those of an MP3 that does not are guessed here. Nothing is mixed.
"""

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import av
import numpy as np
import numpy.typing as npt
import soundfile

from pipeline.mpeg import UNTOLD_DELAY, mpeg_audio
from pipeline.ogg import ogg_audio, ogg_end

Samples = npt.NDArray[np.float32]
PIECE_FRAMES = 1 << 17
DECODER_ERRORS = (
    soundfile.SoundFileError,
    av.FFmpegError,
    ValueError,
    RuntimeError,
    TypeError,
    EOFError,
    MemoryError,
)
"""What the two raise on files that they cannot make sense of."""
_LIBSNDFILE, _FFMPEG = "libsndfile", "FFmpeg"
_PIECE_SAMPLES = 8 * PIECE_FRAMES
_UNKNOWN_LENGTH_FRAMES = 1 << 60
_FASTER_BY_FFMPEG = ("vorbis", "opus")
# Containers whose headers give the length, and by how much: MP4 counts in blocks of its codec.
_SLACK = {"flac": 0, "mov": 2048}
_MOST_PLANES = 8
_JOINED_FRAMES = 1 << 15
_MOST_FILLING = 8192
"""Frames that an encoder may have added to fill its last block: Vorbis has the longest."""


class CannotDecodeError(Exception):
    """No decoder makes audio of this file.

    Args:
        error_class: short name that errors are counted by.
        message: what is wrong, without the file's name.
    """

    def __init__(self, error_class: str, message: str) -> None:
        super().__init__(message)
        self.error_class = error_class


@dataclass(frozen=True, slots=True)
class Sound:
    """An open recording.

    Attributes:
        sample_rate_hz: its rate.
        channels: how many it has.
        pieces: float32 (frames, channels), once and in order; may raise `DECODER_ERRORS`.
        n_frames: as its header says, None where that is not exact.
        slack: how many frames less than that count as all of them.
        decoder: who decodes it.
    """

    sample_rate_hz: int
    channels: int
    pieces: Iterator[Samples]
    decoder: str
    n_frames: int | None = None
    slack: int = 0


@contextlib.contextmanager
def open_sound(file: BinaryIO) -> Iterator[Sound]:
    """Open a recording with the first decoder that makes frames of it.

    Args:
        file: with a descriptor; its position is moved.

    Raises:
        CannotDecodeError: neither does.
    """
    decoders: list[tuple[str, Callable[[BinaryIO], Any]]] = [
        (_LIBSNDFILE, by_libsndfile),
        (_FFMPEG, by_ffmpeg),
    ]
    if _is_for_ffmpeg(file):
        decoders.reverse()
    mpeg = mpeg_audio(file)
    reasons = []
    with contextlib.ExitStack() as stack:
        for name, decoder in decoders:
            try:
                sound = stack.enter_context(decoder(file))
                break
            except DECODER_ERRORS as error:
                reasons.append(f"{name}: {reason_of(error)}")
        else:
            raise CannotDecodeError("undecodable", "; ".join(reasons))
        if mpeg and not mpeg.has_tag:
            sound = dataclasses.replace(sound, pieces=_without_first(sound.pieces, UNTOLD_DELAY))
        yield sound


def _without_first(pieces: Iterator[Samples], n_frames: int) -> Iterator[Samples]:
    for piece in pieces:
        if len(piece) > n_frames:
            yield piece[n_frames:]
        n_frames = max(0, n_frames - len(piece))


def reason_of(error: Exception) -> str:
    """What a decoder says, without the descriptor number that it knows the file by."""
    if isinstance(error, soundfile.LibsndfileError):
        return str(error.error_string).rstrip(".")
    if isinstance(error, av.FFmpegError):
        return str(error.strerror)
    return str(error) or type(error).__name__


def _is_for_ffmpeg(file: BinaryIO) -> bool:
    audio = ogg_audio(file)
    if audio is None or audio.codec not in _FASTER_BY_FFMPEG:
        return False
    # Where Vorbis begins and ends on a single page, FFmpeg is up to a block off.
    end = ogg_end(file, audio)
    return not (audio.codec == "vorbis" and end and end.is_one_page)


@contextlib.contextmanager
def by_libsndfile(file: BinaryIO) -> Iterator[Sound]:
    """A recording as libsndfile decodes it.

    Args:
        file: with a descriptor; its position is moved.
    """
    # By descriptor: libsndfile then reads natively, with no calls back into Python.
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    with soundfile.SoundFile(file.fileno(), closefd=False) as sound:
        # Of an MP3 without a count of its frames it is a guess.
        is_exact = sound.format != "MP3" and sound.frames < _UNKNOWN_LENGTH_FRAMES
        at_once = max(1, min(PIECE_FRAMES, _PIECE_SAMPLES // sound.channels))
        yield Sound(
            sound.samplerate,
            sound.channels,
            _read(sound, at_once),
            _LIBSNDFILE,
            sound.frames if is_exact else None,
        )


def _read(sound: soundfile.SoundFile, at_once: int) -> Iterator[Samples]:
    while len(frames := sound.read(at_once, dtype="float32", always_2d=True)):
        yield frames


@contextlib.contextmanager
def by_ffmpeg(file: BinaryIO) -> Iterator[Sound]:
    """A recording, or the first audio stream of a video, as FFmpeg decodes it.

    Args:
        file: opened for reading; its position is moved.

    Raises:
        CannotDecodeError: it has no audio stream.
    """
    audio = ogg_audio(file)
    end = ogg_end(file, audio) if audio else None
    file.seek(0)
    # metadata_errors: a tag in a strange encoding is no reason to lose the audio.
    with av.open(file, "r", metadata_errors="replace") as container:
        if not container.streams.audio:
            raise CannotDecodeError("no_audio", "has no audio stream")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise ValueError("has no decoder for its codec")
        frames = container.decode(stream)
        first = next(frames, None)
        if first is None:
            yield Sound(stream.sample_rate, stream.channels, iter(()), _FFMPEG)
            return
        # The header of some AAC has half the rate that comes out.
        rate_hz, channels = first.sample_rate, first.layout.nb_channels
        n_frames = None
        family = container.format.name.partition(",")[0]
        if family in _SLACK and stream.duration and stream.time_base:
            n_frames = round(stream.duration * stream.time_base * rate_hz)
        elif end and end.position and first.pts is not None and first.time_base:
            # One recorded from a running stream does not begin at 0.
            n_frames = end.position - max(0, round(first.pts * first.time_base * rate_hz))
        arrays = _arrays(itertools.chain([first], frames), rate_hz, channels)
        pieces = _joined(arrays, n_frames)
        yield Sound(rate_hz, channels, pieces, _FFMPEG, n_frames, _SLACK.get(family, 0))


def _arrays(frames: Iterable[Any], rate_hz: int, channels: int) -> Iterator[Samples]:
    to_float = av.AudioResampler(format="flt")
    for decoded in frames:
        if (decoded.sample_rate, decoded.layout.nb_channels) != (rate_hz, channels):
            raise ValueError(
                f"changes from {rate_hz} Hz with {channels} channels to {decoded.sample_rate} Hz "
                f"with {decoded.layout.nb_channels}; split it there"
            )
        # Of more than eight planes PyAV finds the first eight only.
        if decoded.format.name == "fltp" and channels <= _MOST_PLANES:
            yield decoded.to_ndarray().T
            continue
        for frame in to_float.resample(decoded):
            samples = frame.to_ndarray().astype(np.float32, copy=False)
            yield samples.reshape(-1, channels)


def _joined(arrays: Iterator[Samples], n_frames: int | None) -> Iterator[Samples]:
    """Small arrays as larger ones, without what fills the last block behind `n_frames`."""
    held: list[Samples] = []
    n_held = n = 0
    for array in arrays:
        held.append(array)
        n_held += len(array)
        n += len(array)
        if n_held >= _JOINED_FRAMES:
            joined = np.concatenate(held)
            yield joined[:-_MOST_FILLING]
            held, n_held = [joined[-_MOST_FILLING:]], _MOST_FILLING
    if not held:
        return
    rest = np.concatenate(held)
    filling = n - n_frames if n_frames else 0
    if 0 < filling <= _MOST_FILLING:
        rest = rest[:-filling]
    if len(rest):
        yield rest

"""Audio files decoded by libsndfile."""

import contextlib
import io
import os
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

import soundfile

from pipeline.decode.audio_stream import LIBSNDFILE, PIECE_FRAMES, AudioStream
from pipeline.samples import Samples

_PIECE_SAMPLES = 8 * PIECE_FRAMES
_UNKNOWN_LENGTH_FRAMES = 1 << 60
_SEEKABLE = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC")
_SEEKABLE_SUBTYPES = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")


@contextlib.contextmanager
def open_libsndfile(file: BinaryIO, n_at_once: int = PIECE_FRAMES) -> Iterator[AudioStream]:
    """A recording as libsndfile decodes it.

    Args:
        file: its position is moved.
        n_at_once: Most frames to read at once, which are lost together where they are damaged.
    """
    with soundfile.SoundFile(_for_libsndfile(file), closefd=False) as sound:
        # Of an MP3 without a count of its frames it is a guess.
        is_exact = sound.format != "MP3" and sound.frames < _UNKNOWN_LENGTH_FRAMES
        at_once = max(1, min(n_at_once, _PIECE_SAMPLES // sound.channels))
        yield AudioStream(
            sound.samplerate,
            sound.channels,
            _read(sound, at_once),
            LIBSNDFILE,
            sound.frames if is_exact else None,
            seek=partial(_seek, sound) if is_exact and _begins_anywhere(sound) else None,
            estimated_frames=sound.frames if sound.frames < _UNKNOWN_LENGTH_FRAMES else None,
        )


def _for_libsndfile(file: BinaryIO) -> int | BinaryIO:
    """A descriptor where there is one: libsndfile then reads natively, with no calls to Python."""
    try:
        descriptor = file.fileno()
    except io.UnsupportedOperation:
        file.seek(0)
        return file
    # What is buffered is forgotten by this: a file that can be written to goes back by as much when
    # it is closed, from where libsndfile has moved it.
    file.seek(0, os.SEEK_END)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _begins_anywhere(sound: soundfile.SoundFile) -> bool:
    # In MP3 libsndfile ends up elsewhere, by up to a second, and says nothing.
    return sound.format in _SEEKABLE and sound.subtype.startswith(_SEEKABLE_SUBTYPES)


def _seek(sound: soundfile.SoundFile, frame: int) -> int:
    at: int = sound.seek(min(frame, sound.frames))
    return at


def _read(sound: soundfile.SoundFile, at_once: int) -> Iterator[Samples]:
    while len(frames := sound.read(at_once, dtype="float32", always_2d=True)):
        yield frames

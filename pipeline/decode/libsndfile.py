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
    """Open a file with libsndfile.

    Args:
        file: File opened for reading; its position is moved.
        n_at_once: Largest number of frames to read at once; damage loses all of them.
    """
    with soundfile.SoundFile(_for_libsndfile(file), closefd=False) as sound:
        # For an MP3 without a count of its frames, `frames` is an estimate.
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
    """Return the file's descriptor, which libsndfile reads without Python; else the file."""
    try:
        descriptor = file.fileno()
    except io.UnsupportedOperation:
        file.seek(0)
        return file
    # This empties the buffer. Otherwise a writable file would move back by the buffered bytes when
    # it is closed, from the position that libsndfile has left.
    file.seek(0, os.SEEK_END)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _begins_anywhere(sound: soundfile.SoundFile) -> bool:
    # In MP3 libsndfile seeks up to a second wrong, without an error.
    return sound.format in _SEEKABLE and sound.subtype.startswith(_SEEKABLE_SUBTYPES)


def _seek(sound: soundfile.SoundFile, frame: int) -> int:
    at: int = sound.seek(min(frame, sound.frames))
    return at


def _read(sound: soundfile.SoundFile, at_once: int) -> Iterator[Samples]:
    while len(frames := sound.read(at_once, dtype="float32", always_2d=True)):
        yield frames

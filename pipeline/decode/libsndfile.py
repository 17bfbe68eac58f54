"""Decoding of audio files by libsndfile."""

import contextlib
import io
import os
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

import soundfile

from pipeline.decode.audio_stream import LIBSNDFILE, PIECE_FRAMES, AudioStream
from pipeline.samples import Samples

_MAX_PIECE_SAMPLES = 8 * PIECE_FRAMES
"""Largest number of samples in a piece, over all channels."""
_UNKNOWN_LENGTH_FRAMES = 1 << 60
"""Number of frames from which on libsndfile's count means that the length is unknown."""
_SEEKABLE_FORMATS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC")
_SEEKABLE_SUBTYPES = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")


@contextlib.contextmanager
def open_libsndfile(file: BinaryIO, n_at_once: int = PIECE_FRAMES) -> Iterator[AudioStream]:
    """Open a file with libsndfile.

    Args:
        file: File opened for reading; its position is moved.
        n_at_once: Largest number of frames to read at once. If a frame is damaged, all frames of
            the same read are lost.

    Raises:
        soundfile.SoundFileError: libsndfile does not know the format, or finds it damaged.
    """
    with soundfile.SoundFile(_descriptor_or_file(file), closefd=False) as reader:
        # For an MP3 without a count of its frames, `frames` is an estimate.
        is_exact = reader.format != "MP3" and reader.frames < _UNKNOWN_LENGTH_FRAMES
        at_once = max(1, min(n_at_once, _MAX_PIECE_SAMPLES // reader.channels))
        yield AudioStream(
            reader.samplerate,
            reader.channels,
            _read_pieces(reader, at_once),
            LIBSNDFILE,
            reader.frames if is_exact else None,
            seek=partial(_seek, reader) if is_exact and _can_seek_exactly(reader) else None,
            estimated_frames=reader.frames if reader.frames < _UNKNOWN_LENGTH_FRAMES else None,
        )


def _descriptor_or_file(file: BinaryIO) -> int | BinaryIO:
    """Return the file's descriptor, which libsndfile reads without Python, or else the file."""
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


def _can_seek_exactly(reader: soundfile.SoundFile) -> bool:
    # Seeking in an MP3 is wrong by up to a second in libsndfile, without an error.
    return reader.format in _SEEKABLE_FORMATS and reader.subtype.startswith(_SEEKABLE_SUBTYPES)


def _seek(reader: soundfile.SoundFile, frame: int) -> int:
    position: int = reader.seek(min(frame, reader.frames))
    return position


def _read_pieces(reader: soundfile.SoundFile, at_once: int) -> Iterator[Samples]:
    while len(frames := reader.read(at_once, dtype="float32", always_2d=True)):
        yield frames

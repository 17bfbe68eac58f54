"""What surrounds each call into a decoder: a memory limit, and whose fault an error is.

Decoders read their file through Python and through C, and report what they meet as errors of many
kinds. Here a fault of this machine is told from a fault of the file, so that what comes out is
either an error of the clip or a `HostError`.
"""

import contextlib
import dataclasses
import errno
from collections.abc import Iterator

import av

from pipeline.samples import Samples
from pipeline.decode.audio_stream import LIBSNDFILE, AudioStream
from pipeline.decode.guards.memory_limit import limit_memory
from pipeline.errors import CannotDecodeError
from pipeline.host_faults import host_fault

_FAILED_READS = {errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV, errno.ETIMEDOUT}


@contextlib.contextmanager
def decoder_call(memory_bytes: int) -> Iterator[None]:
    """Surround one call into a decoder.

    Args:
        memory_bytes: Memory that the call may take, in bytes.

    Raises:
        CannotDecodeError: The call takes too much memory, or the file cannot be read.
        HostError: This machine has no space, descriptors or memory left.
        ValueError: The decoder made an impossible call on its file, as damage makes it do.
    """
    with _told_apart(), limit_memory(memory_bytes):
        yield


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    """Tell a fault of this machine from one of the file, where a decoder raises an OSError."""
    try:
        yield
    except av.FFmpegError:
        raise
    except OSError as error:
        if fault := host_fault(error):
            raise fault from error
        reason = error.strerror or str(error) or type(error).__name__
        if error.errno in _FAILED_READS:
            raise CannotDecodeError("unreadable", f"reading it failed: {reason}") from error
        # A damaged header sends a decoder to impossible offsets of its file.
        raise ValueError(f"the decoder cannot read on: {reason}") from error


def guard_stream(sound: AudioStream, memory_bytes: int) -> AudioStream:
    """Return the sound with each piece, and a seek, decoded within `decoder_call`.

    Pieces of libsndfile have no memory limit: once it has opened a file it takes no more than the
    piece, and the limit would cost a short WAV some per cent of its decoding.
    """
    seek, is_bounded = sound.seek, sound.decoder == LIBSNDFILE

    def guarded_seek(frame: int) -> int:
        assert seek is not None
        with decoder_call(memory_bytes):
            return seek(frame)

    return dataclasses.replace(
        sound,
        pieces=_guarded(sound.pieces, None if is_bounded else memory_bytes),
        seek=guarded_seek if seek is not None else None,
    )


def _guarded(pieces: Iterator[Samples], memory_bytes: int | None) -> Iterator[Samples]:
    while True:
        if memory_bytes is None:
            with _told_apart():
                piece = next(pieces, None)
        else:
            with decoder_call(memory_bytes):
                piece = next(pieces, None)
        if piece is None:
            return
        yield piece

"""A guard around each call into a decoder: a memory limit and a classification of errors.

Decoders read files through Python and through C, and raise errors of many types. The guard
separates faults of this machine from faults of the file. It raises `HostError` for a fault of the
machine, and an error of the clip for a fault of the file.
"""

import contextlib
import dataclasses
import errno
from collections.abc import Iterator

import av

from pipeline.decode.audio_stream import LIBSNDFILE, AudioStream
from pipeline.decode.guards.memory_limit import limit_memory
from pipeline.errors import CannotDecodeError
from pipeline.host_faults import host_fault
from pipeline.samples import Samples

_FAILED_READS = {errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV, errno.ETIMEDOUT}


@contextlib.contextmanager
def decoder_call(memory_bytes: int) -> Iterator[None]:
    """Open a guarded context for one call into a decoder.

    Args:
        memory_bytes: Memory in bytes that the call may add to the process.

    Raises:
        CannotDecodeError: The call takes too much memory, or the file cannot be read.
        HostError: This machine has no space, file descriptors or memory left.
        ValueError: The decoder made an impossible system call on its file because of damage.
    """
    with _classify_os_errors(), limit_memory(memory_bytes):
        yield


@contextlib.contextmanager
def _classify_os_errors() -> Iterator[None]:
    """Open a context that translates an OSError of a decoder by whose fault it is."""
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
        # A damaged header makes a decoder seek to impossible offsets.
        raise ValueError(f"the decoder cannot read on: {reason}") from error


def guard_stream(stream: AudioStream, memory_bytes: int) -> AudioStream:
    """Return a stream whose pieces and seeks are guarded as by `decoder_call`.

    Pieces decoded by libsndfile have no memory limit. Once libsndfile has opened a file, it needs
    no more memory than the piece. A limit would slow down short WAV files by a few percent.

    Args:
        stream: Open stream.
        memory_bytes: Memory in bytes that one piece or one seek may add to the process.
    """
    seek, is_bounded = stream.seek, stream.decoder == LIBSNDFILE

    def guarded_seek(frame: int) -> int:
        assert seek is not None
        with decoder_call(memory_bytes):
            return seek(frame)

    return dataclasses.replace(
        stream,
        pieces=_guard_pieces(stream.pieces, None if is_bounded else memory_bytes),
        seek=guarded_seek if seek is not None else None,
    )


def _guard_pieces(pieces: Iterator[Samples], memory_bytes: int | None) -> Iterator[Samples]:
    """Yield pieces, each decoded in a guard; without a memory limit if `memory_bytes` is None."""
    while True:
        if memory_bytes is None:
            with _classify_os_errors():
                piece = next(pieces, None)
        else:
            with decoder_call(memory_bytes):
                piece = next(pieces, None)
        if piece is None:
            return
        yield piece

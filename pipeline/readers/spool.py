"""Spool files, in which the bytes of a clip wait for a decoder, in memory or in TMPDIR.

A file in TMPDIR takes no space for blocks of zeros. Any error of the operating system here is a
fault of this machine, never of the clip.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from pipeline.errors import HostError
from pipeline.host_faults import host_fault

Piece = bytes | memoryview
_BLOCK_BYTES = 1 << 20
_ZEROS = bytes(_BLOCK_BYTES)


class Spool:
    """A file without a name that is written once, from its start to its end.

    Args:
        size: Expected number of bytes; None where it is unknown.
        memory_bytes: Largest size that is kept in memory; larger files go to TMPDIR.

    Raises:
        HostError: The file cannot be created.
    """

    def __init__(self, size: int | None, memory_bytes: int) -> None:
        with _faults_of_this_machine():
            if size is not None and size <= memory_bytes and hasattr(os, "memfd_create"):
                self._descriptor = os.memfd_create("clip")
            else:
                self._descriptor, path = tempfile.mkstemp(prefix="passtream-")
                os.unlink(path)

    def write(self, piece: Piece) -> None:
        """Append bytes.

        Raises:
            HostError: The disk is full, or has another fault.
        """
        view = memoryview(piece).cast("B")
        with _faults_of_this_machine():
            for start in range(0, len(view), _BLOCK_BYTES):
                block = view[start : start + _BLOCK_BYTES]
                # bytes(), because views are compared byte by byte, which is ten times slower.
                if not block[0] and not block[-1] and bytes(block) == _ZEROS[: len(block)]:
                    os.lseek(self._descriptor, len(block), os.SEEK_CUR)
                    continue
                while block:
                    block = block[os.write(self._descriptor, block) :]

    def finish(self) -> BinaryIO:
        """Return the file, which the caller closes; it is positioned at its start.

        Raises:
            HostError: The disk refuses the last block.
        """
        with _faults_of_this_machine():
            size = os.lseek(self._descriptor, 0, os.SEEK_CUR)
            # A hole at the end belongs to the file only after this.
            os.ftruncate(self._descriptor, size)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            return os.fdopen(self._descriptor, "rb")

    def close(self) -> None:
        """Close an unfinished file."""
        os.close(self._descriptor)


def spool(pieces: Iterable[Piece], size: int | None, memory_bytes: int) -> BinaryIO:
    """Return bytes as a file with a descriptor, positioned at its start.

    Args:
        pieces: The bytes, in order. Their exceptions are passed on.
        size: Expected number of bytes; None where it is unknown.
        memory_bytes: Largest size that is kept in memory.

    Raises:
        HostError: The file cannot be written.
    """
    spool = Spool(size, memory_bytes)
    try:
        for piece in pieces:
            spool.write(piece)
        return spool.finish()
    except BaseException:
        spool.close()
        raise


@contextlib.contextmanager
def _faults_of_this_machine() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _fault(error) from error


def _fault(error: OSError) -> HostError:
    """Return the HostError for an error of a temporary file."""
    try:
        folder = tempfile.gettempdir()
    except OSError:
        return HostError(
            "no folder for temporary files can be written to (TMPDIR); free some space, or set "
            "TMPDIR to a larger disk"
        )
    return host_fault(error) or HostError(
        f"a temporary file in {folder} (TMPDIR) cannot be written: {error.strerror or error}; set "
        "TMPDIR to a sound disk"
    )

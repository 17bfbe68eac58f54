"""Containers: opening a file of many clips for one pass, and the errors of its unreadable parts.

A file in a store is read by ranges, each of which is retried while the store is unavailable. So
neither the file's size nor a lost connection matters.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, NoReturn

from pipeline.clips import ClipRef, Container
from pipeline.errors import ClipError, StoreError
from pipeline.host_faults import read_fault
from pipeline.io.objects import FsspecObject
from pipeline.io.protocols import is_remote
from pipeline.io.range_file import open_range_file
from pipeline.io.storage import Storage
from pipeline.io.versions import stat_version
from pipeline.readers.checks import check_size, check_version
from pipeline.readers.clip_file import open_clip
from pipeline.readers.download import retry_read
from pipeline.readers.recording import Recording
from pipeline.readers.spool import Piece, spool

REQUEST_BYTES = 4 << 20
"""Bytes of a remote container that one request reads."""
_MEMORY_BYTES = 32 << 20
"""Largest member in bytes that waits for its decoder in memory; larger ones wait on disk."""

_Ranges = Callable[[int, int], bytes]


@contextlib.contextmanager
def open_container(
    container: Container, storage: Storage, reads_on: bool = False
) -> Iterator[BinaryIO]:
    """Open a container for reading and seeking; every byte is of the listed version.

    At the end of the block the file must still have that version.

    Args:
        container: The container.
        storage: Access to remote locations.
        reads_on: Whether the file is read from start to end.

    Raises:
        ClipError: The file is missing, empty, forbidden, or not of the listed version.
        StoreError: The store does not answer.
    """
    opener = _remote_ranges if is_remote(container.uri) else _local_ranges
    failures: list[ClipError | StoreError] = []
    with opener(container, storage) as (size, ranges):

        def fetch(start: int, end: int) -> bytes:
            try:
                return ranges(start, end)
            except (ClipError, StoreError) as error:
                failures.append(error)
                raise

        with open_range_file(size, fetch, REQUEST_BYTES, reads_on) as file:
            try:
                yield file
            except Exception:
                # The container's reader may have turned the failure into an error of its own.
                if failures:
                    raise failures[0] from None
                raise


@contextlib.contextmanager
def _local_ranges(container: Container, storage: Storage) -> Iterator[tuple[int, _Ranges]]:
    """Open a local file as its size and a function that reads ranges of the listed version."""
    ref = ClipRef(container.uri, container.version)
    with open_clip(ref, storage, max_bytes=sys.maxsize) as file:
        descriptor = file.fileno()

        def ranges(start: int, end: int) -> bytes:
            try:
                content = os.pread(descriptor, end - start, start)
            except OSError as error:
                raise read_fault(container.uri, error) from error
            # A replaced file is still open as it was; a file that was written to is not.
            check_version(container, stat_version(os.fstat(descriptor)))
            return content

        yield os.fstat(descriptor).st_size, ranges


@contextlib.contextmanager
def _remote_ranges(container: Container, storage: Storage) -> Iterator[tuple[int, _Ranges]]:
    """Open a file in a store as its size and a function that reads ranges of that version."""
    found = _open_object(container.uri, storage)
    check_version(container, found.version)
    if not found.size:
        raise ClipError("read", "empty", f"{container.uri}: is empty, or of unknown size")

    def attempt(start: int, end: int) -> bytes | ClipError:
        """Read a range; return a ClipError, because errors that are raised are retried."""
        try:
            return found.range(start, end)
        except OSError:
            try:
                check_version(container, FsspecObject(container.uri, storage).version)
            except ClipError as error:
                return error
            raise

    def ranges(start: int, end: int) -> bytes:
        outcome = retry_read(container.uri, storage, lambda: attempt(start, end))
        if isinstance(outcome, ClipError):
            raise outcome
        return outcome

    yield found.size, ranges
    check_version(container, _open_object(container.uri, storage).version)


def _open_object(uri: str, storage: Storage) -> FsspecObject:
    storage.filesystem(uri).invalidate_cache()
    return retry_read(uri, storage, lambda: FsspecObject(uri, storage))


def spool_to_file(pieces: Iterable[Piece], size: int) -> BinaryIO:
    """Write bytes to a temporary file with a descriptor, and return it at its start.

    Args:
        pieces: The bytes, in order.
        size: Expected number of bytes; a small file stays in memory.

    Raises:
        HostError: This machine has a fault, such as a full disk.
    """
    return spool(pieces, size, _MEMORY_BYTES)


@contextlib.contextmanager
def rewound(ref: ClipRef, file: BinaryIO, max_bytes: int) -> Iterator[BinaryIO]:
    """Open a spooled file again, at its start, as `Recording.open` does.

    Raises:
        ClipError: The file is empty or too large.
    """
    n_bytes = os.fstat(file.fileno()).st_size
    if not n_bytes:
        raise ClipError("read", "empty", f"{ref.name}: is empty (0 bytes)")
    check_size(ref, max_bytes, n_bytes)
    file.seek(0)
    yield file


def unreadable_clip(ref: ClipRef, error: ClipError) -> Recording:
    """Return a recording whose clip ends in `errors`."""

    def fail(_: int) -> NoReturn:
        raise error

    return Recording((ref,), fail)


def unreadable_part(container: Container, error: ClipError) -> Recording:
    """Return one recording that stands for the unreadable rest of a container."""
    return unreadable_clip(ClipRef(container.uri, container.version, container.part), error)


def damage_error(container: Container, what: str, error: Exception | None = None) -> ClipError:
    """Return the error of a container that ends early or makes no sense.

    Args:
        container: The container.
        what: Description of the damage and its position.
        error: Error of the container's reader; None without one.
    """
    # In one line: messages of Parquet's Thrift reader have two.
    reason = " ".join(str(error).split()) or type(error).__name__
    said = f": {reason}" if error else ""
    return ClipError(
        "read",
        "damaged_container",
        f"{container.uri}: {what}{said}; what was read before is embedded. Fetch the file again",
    )

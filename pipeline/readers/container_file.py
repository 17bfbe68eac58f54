"""Files of many clips: how they are opened for one pass, and what becomes of what cannot be read.

A file in a store is read by ranges, each of which is asked for again while the store is out of
order, so neither its size nor one lost connection matters.
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
from pipeline.io.range_file import open_range_file
from pipeline.io.storage import Storage, is_remote
from pipeline.io.versions import stat_version
from pipeline.readers.checks import check_size, check_version
from pipeline.readers.clip_file import open_clip
from pipeline.readers.download import retry_read
from pipeline.readers.recording import Recording
from pipeline.readers.spool import Piece, spool

REQUEST_BYTES = 4 << 20
"""Of a remote container, read at once."""
_MEMORY_BYTES = 32 << 20
"""Larger members wait for their decoder on disk."""

_Ranges = Callable[[int, int], bytes]


@contextlib.contextmanager
def open_container(
    container: Container, storage: Storage, reads_on: bool = False
) -> Iterator[BinaryIO]:
    """A container, to be read and seeked; every byte is of the version that was listed.

    At the end it must still be that.

    Args:
        container: the file.
        storage: how remote locations are reached.
        reads_on: it is read from start to end.

    Raises:
        ClipError: it is missing, empty, closed to us, or not of the version that was listed.
        StoreError: the store does not answer.
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
                # Its reader may have made an error of its own of it, or words of another.
                if failures:
                    raise failures[0] from None
                raise


@contextlib.contextmanager
def _local_ranges(container: Container, storage: Storage) -> Iterator[tuple[int, _Ranges]]:
    """Size of a local file, and its bytes from one offset to another, of the listed version."""
    ref = ClipRef(container.uri, container.version)
    with open_clip(ref, storage, max_bytes=sys.maxsize) as file:
        descriptor = file.fileno()

        def ranges(start: int, end: int) -> bytes:
            try:
                content = os.pread(descriptor, end - start, start)
            except OSError as error:
                raise read_fault(container.uri, error) from error
            # A file that was replaced is still here as it was; one written into is not.
            check_version(container, stat_version(os.fstat(descriptor)))
            return content

        yield os.fstat(descriptor).st_size, ranges


@contextlib.contextmanager
def _remote_ranges(container: Container, storage: Storage) -> Iterator[tuple[int, _Ranges]]:
    """As `_local_ranges`, of a file in a store."""
    found = _looked_at(container.uri, storage)
    check_version(container, found.version)
    if not found.size:
        raise ClipError("read", "empty", f"{container.uri}: is empty, or of unknown size")

    def attempt(start: int, end: int) -> bytes | ClipError:
        """A ClipError is returned: what is raised is tried again."""
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
    check_version(container, _looked_at(container.uri, storage).version)


def _looked_at(uri: str, storage: Storage) -> FsspecObject:
    storage.filesystem(uri).invalidate_cache()
    return retry_read(uri, storage, lambda: FsspecObject(uri, storage))


def spool_to_file(pieces: Iterable[Piece], size: int) -> BinaryIO:
    """Bytes as a file with a descriptor, for its reader to seek in; at its start.

    Args:
        pieces: the bytes, in order.
        size: how many there are to be; few stay in memory.

    Raises:
        HostError: there is no space for them, say.
    """
    return spool(pieces, size, _MEMORY_BYTES)


@contextlib.contextmanager
def rewound(ref: ClipRef, file: BinaryIO, max_bytes: int) -> Iterator[BinaryIO]:
    """A held file as `Recording.open` gives it.

    Raises:
        ClipError: it is empty, or has more bytes than it may.
    """
    n_bytes = os.fstat(file.fileno()).st_size
    if not n_bytes:
        raise ClipError("read", "empty", f"{ref.name}: is empty (0 bytes)")
    check_size(ref, max_bytes, n_bytes)
    file.seek(0)
    yield file


def unreadable_clip(ref: ClipRef, error: ClipError) -> Recording:
    """A recording that ends in `errors`."""

    def fail(_: int) -> NoReturn:
        raise error

    return Recording((ref,), fail)


def unreadable_part(container: Container, error: ClipError) -> Recording:
    """What could not be read of a container, as the one recording that stands for it."""
    return unreadable_clip(ClipRef(container.uri, container.version, container.part), error)


def damage_error(container: Container, what: str, error: Exception | None = None) -> ClipError:
    """The error of a container that ends early or makes no sense.

    Args:
        container: the file.
        what: was met where.
        error: of its reader.
    """
    # In one line: Parquet's reader passes on what its Thrift reader says in two.
    reason = " ".join(str(error).split()) or type(error).__name__
    said = f": {reason}" if error else ""
    return ClipError(
        "read",
        "damaged_container",
        f"{container.uri}: {what}{said}; what was read before is embedded. Fetch the file again",
    )

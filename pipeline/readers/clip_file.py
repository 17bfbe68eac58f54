"""A clip's bytes as a file with a descriptor, which the decoders read fastest.

A local file is opened in place. A remote file is downloaded first; see `download`.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from pipeline.clips import ClipRef, uri_to_path
from pipeline.errors import ClipError
from pipeline.host_faults import read_fault
from pipeline.io.protocols import is_remote
from pipeline.io.storage import Storage
from pipeline.io.versions import stat_version
from pipeline.readers.checks import check_size, check_version, missing_file
from pipeline.readers.download import check_listed, download


@contextlib.contextmanager
def open_clip(ref: ClipRef, storage: Storage, max_bytes: int) -> Iterator[BinaryIO]:
    """Open a clip's file at its start; it has a descriptor.

    At the end of the block the file must still have the listed version, because a local file that
    is written to meanwhile gives a mix of old and new bytes.

    Args:
        ref: The clip.
        storage: Access to remote locations.
        max_bytes: Largest file that is read, in bytes.

    Raises:
        ClipError: The file cannot be read, is empty, too large, or not of the listed version.
        StoreError: The store, or this machine, is unavailable.
    """
    check_listed(ref)
    if is_remote(ref.uri):
        with download(ref, storage, partial(check_size, ref, max_bytes)) as file:
            yield file
        return
    path = uri_to_path(ref.uri)
    try:
        opened = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115 (closed below)
    except FileNotFoundError as error:
        what = f"links to {os.readlink(path)!r}, which is" if os.path.islink(path) else "is"
        raise missing_file(ref.uri, what) from error
    except PermissionError as error:
        raise ClipError("read", "forbidden", f"{ref.uri}: no permission to read it") from error
    except IsADirectoryError as error:
        raise ClipError("read", "not_a_file", f"{ref.uri}: is a folder") from error
    except OSError as error:
        raise read_fault(ref.uri, error) from error
    with opened as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ClipError("read", "not_a_file", f"{ref.uri}: is not a regular file")
        if not status.st_size:
            raise ClipError("read", "empty", f"{ref.uri}: is empty (0 bytes)")
        check_size(ref, max_bytes, status.st_size)
        check_version(ref, stat_version(status))
        try:
            yield file
        except Exception:
            check_unchanged(ref, file)  # a change may be the cause of the error
            raise
        check_unchanged(ref, file)


def check_unchanged(ref: ClipRef, file: BinaryIO) -> None:
    """Check that an open local file still has the listed version; downloads cannot change.

    Raises:
        ClipError: The file was written to.
    """
    if not is_remote(ref.uri):
        check_version(ref, stat_version(os.fstat(file.fileno())))


def _open_without_waiting(path: str, flags: int) -> int:
    # Without O_NONBLOCK, opening a named pipe would wait for a writer for ever.
    return os.open(path, flags | os.O_NONBLOCK)

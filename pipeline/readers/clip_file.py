"""A clip's bytes as a file with a descriptor, which is what the decoders read fastest.

A local file is opened where it lies, a remote one is copied first: see `remote_opening`.
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
from pipeline.io.storage import Storage, is_remote
from pipeline.io.versions import stat_version
from pipeline.readers.checks import check_size, check_version, missing_file
from pipeline.readers.download import check_listed, download


@contextlib.contextmanager
def open_clip(ref: ClipRef, storage: Storage, max_bytes: int) -> Iterator[BinaryIO]:
    """A clip's file, positioned at its start; it has a descriptor.

    At the end it must still be what was listed: a local file that is written into meanwhile gives
    some bytes of before and some of after.

    Args:
        ref: the clip.
        storage: how remote locations are reached.
        max_bytes: largest file that is read.

    Raises:
        ClipError: it cannot be read, is empty, too large, or not of the version that was listed.
        StoreError: the store that it lies in, or this machine, is out of order.
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
            check_unchanged(ref, file)  # what its reader met there may come of it
            raise
        check_unchanged(ref, file)


def check_unchanged(ref: ClipRef, file: BinaryIO) -> None:
    """See that what was read of an open file is what was listed; a copy of a remote one is.

    Raises:
        ClipError: it was written into.
    """
    if not is_remote(ref.uri):
        check_version(ref, stat_version(os.fstat(file.fileno())))


def _open_without_waiting(path: str, flags: int) -> int:
    # Opening a named pipe would otherwise wait for a writer for ever.
    return os.open(path, flags | os.O_NONBLOCK)

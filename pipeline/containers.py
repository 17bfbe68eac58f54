"""Files of many clips: how they are opened for one pass, and what becomes of what cannot be read.

A file in a store is read by ranges, each of which is asked for again while the store is out of
order, so neither its size nor one lost connection matters.
"""

import contextlib
import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, BinaryIO, NoReturn

from pipeline.clips import ClipRef, Container
from pipeline.errors import ClipError, StoreError
from pipeline.opening import opened
from pipeline.recordings import Recording
from pipeline.storage import Storage, is_uri, protocol_of
from pipeline.versions import stat_version

_REQUEST_BYTES = 4 << 20
_MEMORY_BYTES = 32 << 20
"""Larger members wait for their decoder on disk."""
_LOCAL = "file"


def is_remote(location: str) -> bool:
    """Whether a location is in a store; else it is a local path or its `file://` URI."""
    return is_uri(location) and protocol_of(location) != _LOCAL


def object_version(info: dict[str, Any]) -> str:
    """Version of a file in a store: its etag, else its size and time.

    Args:
        info: what its filesystem says of it.
    """
    if etag := info.get("ETag") or info.get("etag"):
        return str(etag).strip('"')
    times = ("mtime", "LastModified", "last_modified", "updated", "created")
    time = next((info[name] for name in times if info.get(name)), "")
    return f"{info.get('size')}-{time}"


@contextlib.contextmanager
def opened_container(container: Container, storage: Storage) -> Iterator[BinaryIO]:
    """A container, to be read and seeked; at the end it must still be what was listed.

    Args:
        container: the file.
        storage: how remote locations are reached.

    Raises:
        ClipError: it is missing, empty, closed to us, or not of the version that was listed.
        StoreError: the store does not answer.
    """
    if not is_remote(container.uri):
        with opened(ClipRef(container.uri, container.version), storage) as file:
            yield file
            # A file that was replaced is still here as it was; one written into is not.
            _check_version(container, stat_version(os.fstat(file.fileno())))
        return
    raw = RemoteFile(container.uri, storage)
    _check_version(container, raw.version)
    if not raw.size:
        raise ClipError("read", "empty", f"{container.uri}: is empty (0 bytes)")
    with io.BufferedReader(raw, _REQUEST_BYTES) as remote:
        try:
            yield remote
        except Exception:
            # Its reader may have made an error of its own of it, or words of another.
            if raw.failure:
                raise raw.failure from None
            raise
        _check_version(container, RemoteFile(container.uri, storage).version)


def _check_version(container: Container, version: str) -> None:
    if version != container.version:
        raise ClipError(
            "read",
            "changed",
            f"{container.uri}: changed since it was listed (version {container.version}, now "
            f"{version}); embed it into a new table",
        )


class RemoteFile(io.RawIOBase):
    """A file in a store, read by ranges.

    Args:
        uri: where it lies.
        storage: how it is reached.

    Attributes:
        size: bytes.
        version: as its listing would say.
        failure: what the last request came to, if it failed.

    Raises:
        ClipError: it is not there, or closed to us.
        StoreError: the store does not answer.
    """

    def __init__(self, uri: str, storage: Storage) -> None:
        self._uri = uri
        self._storage = storage
        self._at = 0
        self.failure: ClipError | StoreError | None = None
        self._filesystem = storage.filesystem(uri)
        self._filesystem.invalidate_cache()
        info = self._asked(partial(self._filesystem.info, uri))
        self.size = int(info["size"] or 0)
        self.version = object_version(info)

    def _asked(self, call: Any) -> Any:
        try:
            return self._storage.tried(f"reading {self._uri}", call)
        except FileNotFoundError:
            self.failure = ClipError("read", "missing", f"{self._uri}: is not there")
        except PermissionError:
            self.failure = ClipError("read", "forbidden", f"{self._uri}: no permission to read it")
        except StoreError as error:
            self.failure = error
        raise self.failure

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Bytes from its start."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a byte; nothing is asked of the store."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer as far as the file goes, by one request."""
        end = min(self._at + len(buffer), self.size)
        if end <= self._at:
            return 0
        content = self._asked(partial(self._range, self._at, end))
        buffer[: len(content)] = content
        self._at = end
        return len(content)

    def _range(self, start: int, end: int) -> bytes:
        content: bytes = self._filesystem.cat_file(self._uri, start=start, end=end)
        if len(content) != end - start:
            raise OSError(f"{len(content)} bytes came in place of {end - start}")
        return content


def held(pieces: Iterable[bytes | memoryview], size: int) -> BinaryIO:
    """Bytes as a file with a descriptor, for its reader to seek in.

    Args:
        pieces: the bytes, in order.
        size: how many there are to be; few stay in memory.
    """
    if size <= _MEMORY_BYTES and hasattr(os, "memfd_create"):
        file: Any = os.fdopen(os.memfd_create("member"), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115 (closed with its recording)
    try:
        for piece in pieces:
            file.write(piece)
        file.flush()
    except BaseException:
        file.close()
        raise
    return file  # type: ignore[no-any-return]


@contextlib.contextmanager
def from_start(ref: ClipRef, file: BinaryIO) -> Iterator[BinaryIO]:
    """A held file as `Recording.open` gives it.

    Raises:
        ClipError: it is empty.
    """
    if not os.fstat(file.fileno()).st_size:
        raise ClipError("read", "empty", f"{ref.uri}: {ref.member} is empty (0 bytes)")
    file.seek(0)
    yield file


def cannot_be_read(ref: ClipRef, error: ClipError) -> Recording:
    """A recording that ends in `errors`."""

    def fail() -> NoReturn:
        raise error

    return Recording(ref, fail)


def rest_of(container: Container, error: ClipError) -> Recording:
    """What could not be read of a container, as the one recording that stands for it."""
    return cannot_be_read(ClipRef(container.uri, container.version, container.part), error)


def damaged(container: Container, what: str, error: Exception | None = None) -> ClipError:
    """The error of a container that ends early or makes no sense.

    Args:
        container: the file.
        what: was met where.
        error: of its reader.
    """
    said = f": {str(error) or type(error).__name__}" if error else ""
    return ClipError(
        "read",
        "damaged_container",
        f"{container.uri}: {what}{said}; what was read before is embedded. Fetch the file again",
    )

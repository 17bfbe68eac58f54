"""Remote objects over fsspec: their size and version, and their bytes as a stream or in ranges."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from pipeline.io.http.reading import http_info, http_pieces, http_range
from pipeline.io.protocols import HTTP_PROTOCOLS, S3_PROTOCOLS, protocol_of
from pipeline.io.storage import Storage
from pipeline.io.versions import info_version

PIECE_BYTES = 8 << 20
"""Most bytes of an object that are fetched with one request."""
_MEMORY_FILES_LOCK = threading.RLock()

T = TypeVar("T")


def filesystem_lock(protocol: str) -> AbstractContextManager[Any]:
    """Return the lock to hold while any thread uses a filesystem of this protocol.

    Only fsspec's memory:// needs a lock: all readers of a file share its position, and creating a
    file takes two steps. For other protocols the lock does nothing.
    """
    return _MEMORY_FILES_LOCK if protocol == "memory" else contextlib.nullcontext()


def read_range(filesystem: Any, path: str, start: int, end: int) -> bytes:
    """Return the bytes of a file from `start` up to `end`, all of them.

    Raises:
        OSError: The store returned fewer or more bytes.
    """
    content: bytes = filesystem.cat_file(path, start=start, end=end)
    _check_length(content, start, end)
    return content


def _check_length(content: bytes, start: int, end: int) -> None:
    if len(content) != end - start:
        raise OSError(f"received {len(content)} of {end - start} bytes from offset {start}")


class RemoteObject(Protocol):
    """An object in a store, with the size and version that it had when it was opened.

    Attributes:
        size: Size in bytes, or None if the store does not report it.
        version: Version of the object, as `pipeline.io.versions.info_version` returns it.
    """

    size: int | None
    version: str

    def pieces(self) -> Iterator[bytes | memoryview]:
        """Yield the object's bytes from start to end, some megabytes at a time."""
        ...


class FsspecObject:
    """An object in any store that fsspec supports; its size and version are requested once.

    Args:
        uri: URI of the object.
        storage: Storage that gives access to the object.

    Raises:
        FileNotFoundError, PermissionError: The object does not exist, or must not be read.
        Exception: The store is unavailable; each store raises errors of its own.
    """

    def __init__(self, uri: str, storage: Storage) -> None:
        self._protocol = protocol_of(uri)
        self._files = storage.filesystem(uri)
        self._uri = uri
        self._timeout_s = storage.timeout_s
        info = self._call(self._info)
        if info["type"] != "file":
            raise FileNotFoundError(f"{uri} is a folder")
        self.size: int | None = info.get("size")
        self.version = info_version(info)
        self._s3_file: Any = None
        self._s3_file_lock = threading.Lock()

    def _info(self) -> dict[str, Any]:
        if self._protocol in HTTP_PROTOCOLS:
            return http_info(self._files, self._uri)
        try:
            found: dict[str, Any] = self._files.info(self._uri)
        except PermissionError:
            # A reply to HEAD has no body, so it does not say why; a reply to GET does.
            self._files.cat_file(self._uri, start=0, end=1)
            raise
        return found

    def pieces(self) -> Iterator[bytes]:
        """Yield the object's bytes from start to end, some megabytes at a time."""
        if self._protocol in HTTP_PROTOCOLS:
            yield from http_pieces(self._files, self._uri, self.size, PIECE_BYTES, self._timeout_s)
        elif self._protocol == "memory":
            with filesystem_lock(self._protocol):
                content = self._files.cat_file(self._uri)
            yield content
        elif self.size is not None and self.size <= PIECE_BYTES:
            yield self._call(lambda: self._files.cat_file(self._uri))
        else:
            with self._files.open(
                self._uri, "rb", block_size=PIECE_BYTES, cache_type="none"
            ) as file:
                while piece := self._call(lambda: file.read(PIECE_BYTES)):
                    yield piece

    def range(self, start: int, end: int) -> bytes:
        """Return the object's bytes from `start` up to `end`, all of them, of `version`.

        Raises:
            OSError: The store returned fewer bytes, or the object may have another version now.
        """
        if self._protocol in S3_PROTOCOLS:
            return self._s3_range(start, end)
        with filesystem_lock(self._protocol):
            content = self._call(lambda: self._any_range(start, end))
            self._check_version(self._call(self._info))
        return content

    def _any_range(self, start: int, end: int) -> bytes:
        if self._protocol in HTTP_PROTOCOLS:
            return http_range(self._files, self._uri, start, end, self._timeout_s)
        return read_range(self._files, self._uri, start, end)

    def _s3_range(self, start: int, end: int) -> bytes:
        # s3fs sends If-Match with each request, so the version needs no second request.
        with self._s3_file_lock:
            if self._s3_file is None:
                file = self._files.open(self._uri, "rb", cache_type="none")
                self._check_version(file.details)
                self._s3_file = file
            self._s3_file.seek(start)
            content: bytes = self._call(lambda: self._s3_file.read(end - start))
        _check_length(content, start, end)
        return content

    def _check_version(self, info: dict[str, Any]) -> None:
        if (version := info_version(info)) != self.version:
            raise OSError(f"has changed and is now of version {version}")

    def _call(self, call: Callable[[], T]) -> T:
        return translate_errors(self._protocol, call)


def fetch_any_version(uri: str, storage: Storage, size: int, start: int, end: int) -> bytes:
    """Return a range of an object's bytes with one request, without a check of its version.

    Args:
        uri: URI of the object.
        storage: Storage that gives access to the object.
        size: Size of the whole object in bytes.
        start: Offset of the first byte.
        end: Offset after the last byte; the range ends at `size` at the latest.

    Raises:
        FileNotFoundError, PermissionError: The object does not exist, or must not be read.
        Exception: The store returned fewer bytes, or is unavailable.
    """
    protocol, files = protocol_of(uri), storage.filesystem(uri)
    if protocol in HTTP_PROTOCOLS:
        return http_range(files, uri, start, min(end, size), storage.timeout_s)
    with filesystem_lock(protocol):
        content: bytes = translate_errors(
            protocol, lambda: files.cat_file(uri, start=start, end=end)
        )
    _check_length(content, start, min(end, size))
    return content


def translate_errors(protocol: str, call: Callable[[], T]) -> T:
    """Call a function, and replace misleading errors of s3fs by the errors that caused them.

    Args:
        protocol: Protocol of the filesystem that the function uses.
        call: Function to call.
    """
    try:
        return call()
    except (IndexError, TypeError) as error:
        # s3fs parses the message of the error that it caught, and fails if there is none.
        caught = error.__context__
        if protocol not in S3_PROTOCOLS or not isinstance(caught, OSError):
            raise
        if isinstance(error, IndexError):  # for instance a timeout
            raise caught from caught.__cause__
        # RADOS sends no message if the version differs from that in If-Match.
        raise OSError("has changed and is now of another version") from error

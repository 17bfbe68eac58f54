"""Remote objects over fsspec: what a store says of one, and its bytes in pieces."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from pipeline.io.http.reading import http_info, http_pieces, http_range
from pipeline.io.storage import HTTP_PROTOCOLS, S3_PROTOCOLS, Storage, protocol_of
from pipeline.io.versions import info_version

PIECE_BYTES = 8 << 20
_MEMORY_LOCK = threading.RLock()

T = TypeVar("T")


def guard_of(protocol: str) -> AbstractContextManager[Any]:
    """What to hold while a filesystem of this protocol is asked, from whichever thread.

    Files of fsspec's memory:// have one position for all of their readers, and creating one takes
    two steps; other filesystems need nothing.
    """
    return _MEMORY_LOCK if protocol == "memory" else contextlib.nullcontext()


def read_range(filesystem: Any, path: str, start: int, end: int) -> bytes:
    """Bytes of a file from one offset to another, exactly.

    Raises:
        OSError: as many did not come.
    """
    content: bytes = filesystem.cat_file(path, start=start, end=end)
    _check_length(content, start, end)
    return content


def _check_length(content: bytes, start: int, end: int) -> None:
    if len(content) != end - start:
        raise OSError(f"{len(content)} bytes came of {end - start} from {start}")


class RemoteObject(Protocol):
    """An object as it was found.

    Attributes:
        size: in bytes; None where the store does not say.
        version: as `pipeline.io.versions.info_version` of its listing.
    """

    size: int | None
    version: str

    def pieces(self) -> Iterator[bytes | memoryview]:
        """Its bytes from start to end, some megabytes at a time."""
        ...


class FsspecObject:
    """An object of any store that fsspec reaches, looked at once.

    Args:
        uri: where it lies.
        storage: how it is reached.

    Raises:
        FileNotFoundError, PermissionError: it is not there, or not for us.
        Exception: the store is out of order; of whatever kind it raises.
    """

    def __init__(self, uri: str, storage: Storage) -> None:
        self._protocol = protocol_of(uri)
        self._files = storage.filesystem(uri)
        self._uri = uri
        self._timeout_s = storage.timeout_s
        info = self._asked(self._info)
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
            # The reply to HEAD has no body and so no reason; that to GET has one.
            self._files.cat_file(self._uri, start=0, end=1)
            raise
        return found

    def pieces(self) -> Iterator[bytes]:
        """Its bytes from start to end, some megabytes at a time."""
        if self._protocol in HTTP_PROTOCOLS:
            yield from http_pieces(self._files, self._uri, self.size, PIECE_BYTES, self._timeout_s)
        elif self._protocol == "memory":
            with guard_of(self._protocol):
                content = self._files.cat_file(self._uri)
            yield content
        elif self.size is not None and self.size <= PIECE_BYTES:
            yield self._asked(lambda: self._files.cat_file(self._uri))
        else:
            with self._files.open(
                self._uri, "rb", block_size=PIECE_BYTES, cache_type="none"
            ) as file:
                while piece := self._asked(lambda: file.read(PIECE_BYTES)):
                    yield piece

    def range(self, start: int, end: int) -> bytes:
        """Its bytes from one offset to another, exactly, and of the version that was found.

        Raises:
            OSError: fewer bytes came, or they may be those of another version.
        """
        if self._protocol in S3_PROTOCOLS:
            return self._s3_range(start, end)
        with guard_of(self._protocol):
            content = self._asked(lambda: self._any_range(start, end))
            self._check(self._asked(self._info))
        return content

    def _any_range(self, start: int, end: int) -> bytes:
        if self._protocol in HTTP_PROTOCOLS:
            return http_range(self._files, self._uri, start, end, self._timeout_s)
        return read_range(self._files, self._uri, start, end)

    def _s3_range(self, start: int, end: int) -> bytes:
        # Its requests say If-Match, so that none needs a second one to see what it was of.
        with self._s3_file_lock:
            if self._s3_file is None:
                file = self._files.open(self._uri, "rb", cache_type="none")
                self._check(file.details)
                self._s3_file = file
            self._s3_file.seek(start)
            content: bytes = self._asked(lambda: self._s3_file.read(end - start))
        _check_length(content, start, end)
        return content

    def _check(self, info: dict[str, Any]) -> None:
        if (version := info_version(info)) != self.version:
            raise OSError(f"is of version {version} by now")

    def _asked(self, call: Callable[[], T]) -> T:
        return translate_errors(self._protocol, call)


def split_part(uri: str, storage: Storage, size: int, start: int, end: int) -> bytes:
    """Bytes of an object of whatever version it is by now, in one request.

    Args:
        uri: where it lies.
        storage: how it is reached.
        size: of the whole, in bytes.
        start: offset of the first.
        end: offset behind the last.

    Raises:
        FileNotFoundError, PermissionError: it is not there, or not for us.
        Exception: as many did not come; or the store is out of order.
    """
    protocol, files = protocol_of(uri), storage.filesystem(uri)
    if protocol in HTTP_PROTOCOLS:
        return http_range(files, uri, start, min(end, size), storage.timeout_s)
    with guard_of(protocol):
        content: bytes = translate_errors(
            protocol, lambda: files.cat_file(uri, start=start, end=end)
        )
    _check_length(content, start, min(end, size))
    return content


def translate_errors(protocol: str, call: Callable[[], T]) -> T:
    """Do something; say in a usual way what s3fs fails to say.

    Args:
        protocol: of what is asked for.
        call: asks.
    """
    try:
        return call()
    except (IndexError, TypeError) as error:
        # s3fs looks for words in what it has caught, and there may be none.
        caught = error.__context__
        if protocol not in S3_PROTOCOLS or not isinstance(caught, OSError):
            raise
        if isinstance(error, IndexError):  # as of time-outs
            raise caught from caught.__cause__
        # RADOS says without a word that If-Match does not hold.
        raise OSError("is of another version by now") from error

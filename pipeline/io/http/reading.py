"""Reads of recordings over HTTP: size and version, the whole content, and ranges of it.

Every read ends: after the first `timeout_s` seconds, the content must arrive at an average of at
least `MIN_RATE_BYTES_PER_S`. No read accepts more bytes than requested, whatever a server sends.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from pipeline.io.http.host_rules import origin_of
from pipeline.io.http.server_faults import (
    SHORT_RESPONSE,
    TOO_SLOW,
    ServerError,
    fault_of,
    fault_of_status,
)

MIN_RATE_BYTES_PER_S = 4096
"""Lowest rate at which a recording may arrive. Speech at 16 kbit/s needs half of it."""
_MISSING = (404, 410)
_FORBIDDEN = (401, 403, 451)
_CHECKSUMS = ("ETag", "Content-MD5", "Digest", "Last-Modified")
_UNCOMPRESSED = {"Accept-Encoding": "identity"}


def http_info(filesystem: Any, url: str) -> dict[str, Any]:
    """Return the properties of a recording: its size if the server reports it, and checksums.

    Args:
        filesystem: HTTP filesystem of fsspec.
        url: URL of the recording.

    Raises:
        FileNotFoundError, PermissionError: The recording does not exist, or must not be read.
        ServerError: The server does not answer, or answers with an error.
    """
    from fsspec.asyn import sync

    found: dict[str, Any] = sync(filesystem.loop, _info, filesystem, url)
    return found


def http_pieces(
    filesystem: Any, url: str, size: int | None, piece_bytes: int, timeout_s: float
) -> Iterator[bytes]:
    """Yield a recording's bytes from start to end, in pieces.

    Args:
        filesystem: HTTP filesystem of fsspec.
        url: URL of the recording.
        size: Size of the recording in bytes, or None if the server does not report it.
        piece_bytes: Size of each piece but the last.
        timeout_s: Seconds before the minimum rate applies.

    Raises:
        FileNotFoundError, PermissionError: The recording does not exist, or must not be read.
        ServerError: The server sends too few bytes, is too slow, or does not answer.
    """
    from fsspec.asyn import sync

    body = _Body(filesystem, url, timeout_s)
    sync(filesystem.loop, body.open, {})
    try:
        while piece := sync(filesystem.loop, body.read, piece_bytes):
            yield piece
        if size is not None and body.n_bytes != size:
            raise body.length_error(size)
    finally:
        sync(filesystem.loop, body.close)


def http_range(filesystem: Any, url: str, start: int, end: int, timeout_s: float) -> bytes:
    """Return a recording's bytes from `start` up to `end`, all of them.

    Args:
        filesystem: HTTP filesystem of fsspec.
        url: URL of the recording.
        start: Offset of the first byte.
        end: Offset after the last byte.
        timeout_s: Seconds before the minimum rate applies.

    Raises:
        FileNotFoundError, PermissionError: The recording does not exist, or must not be read.
        ServerError: The server sends too few bytes, is too slow, or does not answer.
    """
    from fsspec.asyn import sync

    content: bytes = sync(filesystem.loop, _range, filesystem, url, start, end, timeout_s)
    return content


class _Body:
    """The body of one reply, whose read calls enforce the minimum rate."""

    def __init__(self, filesystem: Any, url: str, timeout_s: float) -> None:
        self.n_bytes = 0
        self._filesystem = filesystem
        self._url = url
        self._origin = origin_of(url)
        self._timeout_s = timeout_s
        self._last_s = time.monotonic()
        self._rate_starts_s = self._last_s + timeout_s
        self._stack = contextlib.AsyncExitStack()
        self._reply: Any = None

    async def open(self, headers: dict[str, str]) -> int:
        """Send a GET request and return the status of the reply."""
        reply = _open_reply(self._filesystem, "GET", self._url, headers)
        self._reply = await self._stack.enter_async_context(reply)
        return int(self._reply.status)

    async def read(self, n_bytes: int) -> bytes:
        """Return the next `n_bytes` bytes, or fewer at the end of the body."""
        parts: list[bytes] = []
        n_read = 0
        while n_read < n_bytes:
            part = await self._read_part(n_bytes - n_read)
            if not part:
                break
            parts.append(part)
            n_read += len(part)
        return b"".join(parts)

    async def close(self) -> None:
        """Release the connection, or close it if the body has not been read to its end."""
        if self._reply is not None and not self._reply.content.at_eof():
            self._reply.close()
        await self._stack.aclose()

    def length_error(self, size: int) -> ServerError:
        """Return the error for a body that is shorter or longer than declared."""
        return ServerError(SHORT_RESPONSE, f"received {self.n_bytes} of {size} bytes", self._origin)

    async def _read_part(self, max_bytes: int) -> bytes:
        import aiohttp

        left_s = self._rate_starts_s + self.n_bytes / MIN_RATE_BYTES_PER_S - time.monotonic()
        try:
            part: bytes = await asyncio.wait_for(
                self._reply.content.read(max_bytes), max(left_s, 0.001)
            )
        except aiohttp.ServerTimeoutError as error:  # the server has stopped sending
            raise ServerError(
                SHORT_RESPONSE,
                f"{str(error) or 'no data'}, after {self.n_bytes} bytes",
                self._origin,
            ) from error
        except TimeoutError as error:
            silent_s = time.monotonic() - self._last_s
            if silent_s > self._timeout_s / 2:
                raise ServerError(
                    SHORT_RESPONSE,
                    f"no data for {silent_s:.0f} s, after {self.n_bytes} bytes",
                    self._origin,
                ) from error
            took_s = time.monotonic() - self._rate_starts_s + self._timeout_s
            raise ServerError(
                TOO_SLOW,
                f"received {self.n_bytes} bytes in {took_s:.0f} s, fewer than "
                f"{MIN_RATE_BYTES_PER_S} per second after the first {self._timeout_s:g} s "
                "(--store-timeout-s)",
                self._origin,
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            length = self._reply.headers.get("Content-Length")
            of_length = f" of {length}" if length else ""
            raise ServerError(
                SHORT_RESPONSE,
                f"the connection ended after {self.n_bytes} bytes{of_length}",
                self._origin,
            ) from error
        self.n_bytes += len(part)
        self._last_s = time.monotonic()
        return part


async def _info(filesystem: Any, url: str) -> dict[str, Any]:
    """Return the properties of a file, as an fsspec filesystem returns them.

    A GET follows if the reply to HEAD is an error of this URL or has no size. Unlike in fsspec, no
    GET follows if the server does not answer.
    """
    info: dict[str, Any] = {}
    for method in ("HEAD", "GET"):
        try:
            async with _open_reply(filesystem, method, url, _UNCOMPRESSED) as reply:
                info.update(_size_and_checksums(reply.headers))
                if method == "GET":
                    reply.close()  # only the headers are needed
        except (FileNotFoundError, PermissionError):
            if method == "GET":
                raise
        except ServerError as fault:
            # Some servers do not support HEAD, or forbid it.
            if method == "GET" or not fault.is_final or not str(fault).startswith("HTTP status"):
                raise
        else:
            if info.get("size") is not None:
                break
    return {"name": url, "size": None, **info, "type": "file"}


def _size_and_checksums(headers: Any) -> dict[str, Any]:
    """Return the size and the checksums in the headers of a reply."""
    found: dict[str, Any] = {each: headers[each] for each in _CHECKSUMS if headers.get(each)}
    is_plain = headers.get("Content-Encoding", "") in ("", "identity")
    length = headers.get("Content-Length", "")
    if length.isdigit() and is_plain:
        found["size"] = int(length)
    return found


async def _range(filesystem: Any, url: str, start: int, end: int, timeout_s: float) -> bytes:
    body = _Body(filesystem, url, timeout_s)
    try:
        status = await body.open({"Range": f"bytes={start}-{end - 1}"})
        # A server without ranges sends the whole file with status 200.
        to_skip = start if status == 200 else 0
        while to_skip > 0 and (skipped := await body.read(min(to_skip, 1 << 20))):
            to_skip -= len(skipped)
        content = await body.read(end - start)
    finally:
        await body.close()
    if len(content) != end - start:
        raise ServerError(
            SHORT_RESPONSE,
            f"received {len(content)} of {end - start} bytes from offset {start}",
            origin_of(url),
        )
    return content


@contextlib.asynccontextmanager
async def _open_reply(
    filesystem: Any, method: str, url: str, headers: dict[str, str]
) -> AsyncIterator[Any]:
    """Open a request and yield the reply; raise if its status is not a success."""
    origin = origin_of(url)
    session = await filesystem.set_session()
    settings = dict(filesystem.kwargs)
    settings["headers"] = {**_UNCOMPRESSED, **headers}
    send = session.head if method == "HEAD" else session.get
    try:
        target = filesystem.encode_url(url)
    except ValueError as error:
        raise fault_of(error, origin) from error
    async with send(target, **settings) as reply:
        status = reply.status
        if status in _MISSING:
            raise FileNotFoundError(f"HTTP status {status}")
        if status in _FORBIDDEN:
            raise PermissionError(f"HTTP status {status}")
        if status >= 300:
            raise fault_of_status(status, origin)
        yield reply

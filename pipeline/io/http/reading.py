"""Recordings over HTTP: what a server says of one, its bytes in pieces, and ranges of them.

Every reading ends: its bytes must come at `LEAST_BYTES_PER_S` at least, once the time that a store
may be out of order is over. No more is read than is asked for, whatever a server sends.
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

LEAST_BYTES_PER_S = 4096
"""A slower recording is an error: 16 kbit/s of speech need half of it."""
_NOT_THERE = (404, 410)
_FORBIDDEN = (401, 403, 451)
_CHECKSUMS = ("ETag", "Content-MD5", "Digest", "Last-Modified")
_WHOLE = {"Accept-Encoding": "identity"}


def http_info(filesystem: Any, url: str) -> dict[str, Any]:
    """Return what a server says of a recording: its size, where it says so, and its version.

    Args:
        filesystem: The HTTP filesystem of fsspec.
        url: The URL of the recording.

    Raises:
        FileNotFoundError, PermissionError: The recording is not there, or not for us.
        ServerError: The server does not answer, or answers with an error.
    """
    from fsspec.asyn import sync

    found: dict[str, Any] = sync(filesystem.loop, _info, filesystem, url)
    return found


def http_pieces(
    filesystem: Any, url: str, size: int | None, piece_bytes: int, timeout_s: float
) -> Iterator[bytes]:
    """Yield a recording's bytes from start to end.

    Args:
        filesystem: The HTTP filesystem of fsspec.
        url: The URL of the recording.
        size: The size of the recording in bytes; None where the server does not say.
        piece_bytes: The size of a piece.
        timeout_s: The time that passes before the least rate counts.

    Raises:
        FileNotFoundError, PermissionError: The recording is not there, or not for us.
        ServerError: Fewer bytes came, or came too slowly; or the server does not answer.
    """
    from fsspec.asyn import sync

    body = _Body(filesystem, url, timeout_s)
    sync(filesystem.loop, body.open, {})
    try:
        while piece := sync(filesystem.loop, body.read, piece_bytes):
            yield piece
        if size is not None and body.n_bytes != size:
            raise body.short(size)
    finally:
        sync(filesystem.loop, body.close)


def http_range(filesystem: Any, url: str, start: int, end: int, timeout_s: float) -> bytes:
    """Return a recording's bytes from one offset to another, exactly.

    Args:
        filesystem: The HTTP filesystem of fsspec.
        url: The URL of the recording.
        start: The offset of the first byte.
        end: The offset after the last byte.
        timeout_s: The time that passes before the least rate counts.

    Raises:
        FileNotFoundError, PermissionError: The recording is not there, or not for us.
        ServerError: Fewer bytes came, or came too slowly; or the server does not answer.
    """
    from fsspec.asyn import sync

    content: bytes = sync(filesystem.loop, _range, filesystem, url, start, end, timeout_s)
    return content


class _Body:
    """The body of one reply, read by the clock."""

    def __init__(self, filesystem: Any, url: str, timeout_s: float) -> None:
        self.n_bytes = 0
        self._filesystem = filesystem
        self._url = url
        self._origin = origin_of(url)
        self._timeout_s = timeout_s
        self._last_s = time.monotonic()
        self._until_s = self._last_s + timeout_s
        self._stack = contextlib.AsyncExitStack()
        self._reply: Any = None

    async def open(self, headers: dict[str, str]) -> int:
        """Ask for it; the status of the reply."""
        reply = _asked(self._filesystem, "GET", self._url, headers)
        self._reply = await self._stack.enter_async_context(reply)
        return int(self._reply.status)

    async def read(self, most_bytes: int) -> bytes:
        """The next bytes, as many as are asked for except at the end."""
        parts: list[bytes] = []
        n_read = 0
        while n_read < most_bytes:
            part = await self._part(most_bytes - n_read)
            if not part:
                break
            parts.append(part)
            n_read += len(part)
        return b"".join(parts)

    async def close(self) -> None:
        """End the connection, if the body has not come to its end."""
        if self._reply is not None and not self._reply.content.at_eof():
            self._reply.close()
        await self._stack.aclose()

    def short(self, size: int) -> ServerError:
        """The error of a body of another length than was said."""
        return ServerError(SHORT_RESPONSE, f"{self.n_bytes} bytes came of {size}", self._origin)

    async def _part(self, most_bytes: int) -> bytes:
        import aiohttp

        left_s = self._until_s + self.n_bytes / LEAST_BYTES_PER_S - time.monotonic()
        try:
            part: bytes = await asyncio.wait_for(
                self._reply.content.read(most_bytes), max(left_s, 0.001)
            )
        except aiohttp.ServerTimeoutError as error:  # it says nothing at all
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
            took_s = time.monotonic() - self._until_s + self._timeout_s
            raise ServerError(
                TOO_SLOW,
                f"{self.n_bytes} bytes came in {took_s:.0f} s, fewer than {LEAST_BYTES_PER_S} a "
                f"second after the first {self._timeout_s:g} s (--store-timeout-s)",
                self._origin,
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            said = self._reply.headers.get("Content-Length")
            raise ServerError(
                SHORT_RESPONSE,
                f"the connection ended after {self.n_bytes} bytes{f' of {said}' if said else ''}",
                self._origin,
            ) from error
        self.n_bytes += len(part)
        self._last_s = time.monotonic()
        return part


async def _info(filesystem: Any, url: str) -> dict[str, Any]:
    """As fsspec finds it, but a server that does not answer is not asked twice."""
    info: dict[str, Any] = {}
    for method in ("HEAD", "GET"):
        try:
            async with _asked(filesystem, method, url, _WHOLE) as reply:
                info.update(_said_of(reply.headers))
                if method == "GET":
                    reply.close()  # its bytes are not wanted here
        except (FileNotFoundError, PermissionError):
            if method == "GET":
                raise
        except ServerError as fault:
            # Some servers do not know HEAD, or have it forbidden.
            if method == "GET" or not fault.is_final or not str(fault).startswith("HTTP status"):
                raise
        else:
            if info.get("size") is not None:
                break
    return {"name": url, "size": None, **info, "type": "file"}


def _said_of(headers: Any) -> dict[str, Any]:
    """Size and version, by the headers of a reply."""
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
        before = start if status == 200 else 0  # a server that knows no ranges sends all of it
        while before > 0 and (passed := await body.read(min(before, 1 << 20))):
            before -= len(passed)
        content = await body.read(end - start)
    finally:
        await body.close()
    if len(content) != end - start:
        raise ServerError(
            SHORT_RESPONSE,
            f"{len(content)} bytes came of {end - start} from {start}",
            origin_of(url),
        )
    return content


@contextlib.asynccontextmanager
async def _asked(
    filesystem: Any, method: str, url: str, headers: dict[str, str]
) -> AsyncIterator[Any]:
    """The reply of a server, with a status of success."""
    origin = origin_of(url)
    session = await filesystem.set_session()
    settings = dict(filesystem.kwargs)
    settings["headers"] = {**_WHOLE, **headers}
    ask = session.head if method == "HEAD" else session.get
    try:
        target = filesystem.encode_url(url)
    except ValueError as error:
        raise fault_of(error, origin) from error
    async with ask(target, **settings) as reply:
        status = reply.status
        if status in _NOT_THERE:
            raise FileNotFoundError(f"HTTP status {status}")
        if status in _FORBIDDEN:
            raise PermissionError(f"HTTP status {status}")
        if status >= 300:
            raise fault_of_status(status, origin)
        yield reply

"""Faults of HTTP servers: one exception, with a class for each kind of fault.

The classes are classes of clip errors, so a server's fault can become the error of its clips.
`named_hosts` decides whether it does.
"""

import asyncio
import socket
from collections.abc import Iterator

from pipeline.printable import escape_control

UNREACHABLE = "host_unreachable"
SERVER_ERROR = "server_error"
REDIRECT_LOOP = "redirect_loop"
TLS_ERROR = "tls_error"
SHORT_RESPONSE = "short_response"
TOO_SLOW = "too_slow"
NOT_ALLOWED = "not_allowed"
BAD_URL = "bad_url"

CLASSES = frozenset(
    {
        *(UNREACHABLE, SERVER_ERROR, REDIRECT_LOOP, TLS_ERROR),
        *(SHORT_RESPONSE, TOO_SLOW, NOT_ALLOWED, BAD_URL),
    }
)
"""Error classes of the faults of this module."""
SINGLE_URL_CLASSES = frozenset({REDIRECT_LOOP, SHORT_RESPONSE, TOO_SLOW, NOT_ALLOWED, BAD_URL})
"""Error classes of faults of a single URL, which say nothing about other URLs of its server."""
_FINAL = frozenset({REDIRECT_LOOP, TLS_ERROR, TOO_SLOW, NOT_ALLOWED, BAD_URL})
_NO_ADDRESS_ERRNOS = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
_TRANSIENT_4XX = (408, 425, 429)


class ServerError(OSError):
    """A failure of an HTTP server to deliver a recording.

    Args:
        error_class: Class of the clip error that this fault may become.
        reason: Description of the fault in one line, without the URL.
        origin: Scheme, host and port that failed. After a redirect it is the redirect's target.
        is_final: Whether a retry cannot change the result.

    Attributes:
        has_no_address: Whether the host's name has no address.
    """

    has_no_address = False

    def __init__(
        self, error_class: str, reason: str, origin: str = "", is_final: bool = False
    ) -> None:
        super().__init__(reason)
        self.error_class = error_class
        self.reason = reason
        self.origin = origin
        self.is_final = is_final or error_class in _FINAL

    def __str__(self) -> str:
        return self.reason


def fault_of_status(status: int, origin: str = "") -> ServerError:
    """Return the fault for an HTTP status.

    Args:
        status: Status of the reply, 300 or more.
        origin: Origin of the server that replied.
    """
    is_final = 400 <= status < 500 and status not in _TRANSIENT_4XX
    return ServerError(SERVER_ERROR, f"HTTP status {status}", origin, is_final)


def fault_of(error: BaseException, origin: str) -> ServerError:
    """Return the fault for an error of the HTTP client.

    Args:
        error: Error that the client raised before it received a reply.
        origin: Origin of the server that the request was sent to.
    """
    import aiohttp  # a slow import that most runs do not need

    for cause in _causes(error):
        if isinstance(cause, ServerError):
            return cause
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return ServerError(BAD_URL, "is not a valid URL", origin)
    if isinstance(error, aiohttp.TooManyRedirects):
        return ServerError(REDIRECT_LOOP, "redirects too many times", origin)
    if isinstance(error, aiohttp.ClientSSLError):
        return ServerError(TLS_ERROR, f"no secure connection: {_first_line(error)}", origin)
    if isinstance(error, aiohttp.ClientResponseError):
        if "Data after" in error.message:
            return ServerError(
                SHORT_RESPONSE, "the server sent more bytes than it declared", origin
            )
        return ServerError(
            SERVER_ERROR, f"sends an invalid HTTP response: {_first_line(error)}", origin
        )
    if isinstance(error, asyncio.TimeoutError):
        reason = str(error) or "no answer in time"
        return ServerError(UNREACHABLE, reason, origin)
    fault = ServerError(UNREACHABLE, _first_line(error), origin)
    fault.has_no_address = getattr(error, "errno", None) in _NO_ADDRESS_ERRNOS
    return fault


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        inner = getattr(error, "os_error", None)
        if isinstance(inner, ServerError):
            yield inner
        error = error.__cause__ or error.__context__


def _first_line(error: BaseException) -> str:
    message = getattr(error, "message", "") or str(error) or type(error).__name__
    lines = str(message).strip().splitlines()
    return escape_control(lines[0] if lines else type(error).__name__)

"""What goes wrong when an HTTP server is asked for a recording, as one error with a class.

The classes are those of clip errors, so that a server's fault can become the error of the clips
that lie on it. See `named_hosts`, which decides whose fault it is.
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
"""Classes of the clip errors that are made of these faults."""
OF_ONE_URL = frozenset({REDIRECT_LOOP, SHORT_RESPONSE, TOO_SLOW, NOT_ALLOWED, BAD_URL})
"""Classes of faults of one URL, of which other URLs of the same server need not have any."""
_FINAL = frozenset({REDIRECT_LOOP, TLS_ERROR, TOO_SLOW, NOT_ALLOWED, BAD_URL})
_NO_ADDRESS = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
_TRY_AGAIN = (408, 425, 429)


class ServerError(OSError):
    """An HTTP server did not give what it was asked for.

    Args:
        error_class: The class of the clip errors that this fault becomes.
        reason: What happened, in one line without the URL.
        origin: The scheme, host and port that failed; that of a redirect where it led elsewhere.
        is_final: A retry would change nothing.

    Attributes:
        has_no_address: Nobody knows a host of this name.
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
    """Return the fault that an HTTP status stands for.

    Args:
        status: The status of the reply, 400 or more.
        origin: The server that replied.
    """
    is_final = 400 <= status < 500 and status not in _TRY_AGAIN
    return ServerError(SERVER_ERROR, f"HTTP status {status}", origin, is_final)


def fault_of(error: BaseException, origin: str) -> ServerError:
    """Return the fault that an error of the HTTP client stands for.

    Args:
        error: The error, raised before a reply came.
        origin: The server that was asked.
    """
    import aiohttp  # takes a while to import, and most runs need none of it

    for cause in _causes(error):
        if isinstance(cause, ServerError):
            return cause
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return ServerError(BAD_URL, "is no URL that can be asked for", origin)
    if isinstance(error, aiohttp.TooManyRedirects):
        return ServerError(REDIRECT_LOOP, "redirects again and again", origin)
    if isinstance(error, aiohttp.ClientSSLError):
        return ServerError(TLS_ERROR, f"no secure connection: {_said(error)}", origin)
    if isinstance(error, aiohttp.ClientResponseError):
        if "Data after" in error.message:
            return ServerError(SHORT_RESPONSE, "more bytes came than the server says", origin)
        return ServerError(SERVER_ERROR, f"does not answer as HTTP says: {_said(error)}", origin)
    if isinstance(error, asyncio.TimeoutError):
        said = str(error) or "no answer in time"
        return ServerError(UNREACHABLE, said, origin)
    fault = ServerError(UNREACHABLE, _said(error), origin)
    fault.has_no_address = getattr(error, "errno", None) in _NO_ADDRESS
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


def _said(error: BaseException) -> str:
    message = getattr(error, "message", "") or str(error) or type(error).__name__
    lines = str(message).strip().splitlines()
    return escape_control(lines[0] if lines else type(error).__name__)

"""The HTTP client of all remote files, which follows redirects and adds credentials.

Each hop of a redirect is checked against the host rules. The user's headers, cookies and parameters
are sent only to the servers that they were given for, so a redirect to another host loses them.
"""

import base64
import contextvars
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pipeline.io.http.host_rules import HostRules, is_private, origin_of
from pipeline.io.http.server_faults import (
    BAD_URL,
    NOT_ALLOWED,
    REDIRECT_LOOP,
    ServerError,
    fault_of,
)

MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_CREDENTIAL_OPTIONS = ("headers", "cookies", "params", "auth")
_REQUEST_OPTIONS = {"ssl", "proxy", "proxy_auth", "proxy_headers", "server_hostname"}
_FILESYSTEM_OPTIONS = {
    *("block_size", "cache_options", "cache_type", "encoded", "same_scheme", "simple_links"),
    *("client_kwargs", "use_listings_cache"),
}
_public_only: contextvars.ContextVar[bool] = contextvars.ContextVar("public_only", default=False)


@dataclass(frozen=True)
class Credentials:
    """Credentials that are sent to one server with each request, and to no other server.

    Attributes:
        headers: HTTP headers, including the header for a user name and password.
        cookies: Cookies.
        params: Parameters to add to the query.
    """

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Mapping[str, str] = field(default_factory=dict, repr=False)


def credentials_in(options: Mapping[str, Any]) -> Credentials:
    """Return the credentials among the options of an HTTP filesystem.

    Args:
        options: Options as the user gave them, at the top level or within `client_kwargs`.
    """
    client_options = options.get("client_kwargs")
    found: dict[str, dict[str, str]] = {"headers": {}, "cookies": {}, "params": {}}
    for given in (client_options if isinstance(client_options, Mapping) else {}, options):
        for name, values in found.items():
            if isinstance(extra := given.get(name), Mapping):
                values |= {str(key): str(value) for key, value in extra.items()}
        auth = given.get("auth")
        if auth is None and given.get("username") is not None:
            auth = (given["username"], given.get("password", ""))
        if auth is not None:
            found["headers"]["Authorization"] = _authorization_header(auth)
    return Credentials(**found)


def settings_without_credentials(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of an HTTP filesystem that are no credentials.

    Args:
        options: Options as the user gave them. Options for other kinds of stores are dropped.
    """
    kept = {
        name: value
        for name, value in options.items()
        if name in _REQUEST_OPTIONS or name in _FILESYSTEM_OPTIONS
    }
    if isinstance(client := kept.get("client_kwargs"), Mapping):
        kept["client_kwargs"] = {k: v for k, v in client.items() if k not in _CREDENTIAL_OPTIONS}
    return kept


def client_maker(
    rules: HostRules, credentials_of: Callable[[str], Credentials]
) -> Callable[..., Awaitable["GuardedSession"]]:
    """Return a factory of the client of an HTTP filesystem of fsspec.

    Args:
        rules: Rules for the hosts that may be contacted.
        credentials_of: Function that returns the credentials for a URL.
    """
    return partial(_client, rules, credentials_of)


async def _client(
    rules: HostRules, credentials_of: Callable[[str], Credentials], **settings: Any
) -> "GuardedSession":
    import aiohttp

    if "connector" not in settings:
        # There is no DNS cache, so that the resolver checks the addresses of each connection.
        settings["connector"] = aiohttp.TCPConnector(
            resolver=_new_resolver(rules), use_dns_cache=False
        )
    return GuardedSession(aiohttp.ClientSession(**settings), rules, credentials_of)


class GuardedSession:
    """A wrapper of an aiohttp session that checks each hop and adds its credentials.

    It has only the methods of a client session that the HTTP filesystem of fsspec uses.

    Args:
        session: Client session of aiohttp.
        rules: Rules for the hosts that may be contacted.
        credentials_of: Function that returns the credentials for a URL.
    """

    def __init__(
        self, session: Any, rules: HostRules, credentials_of: Callable[[str], Credentials]
    ) -> None:
        self._session = session
        self._rules = rules
        self._credentials_of = credentials_of

    @property
    def _connector(self) -> Any:
        """Connector of the session, which fsspec closes at the end of the process."""
        return self._session._connector

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    def get(self, url: Any, **settings: Any) -> "_Reply":
        """Send a GET request when the result is awaited or entered."""
        return _Reply(partial(self._request, "GET", url, settings))

    def head(self, url: Any, **settings: Any) -> "_Reply":
        """Send a HEAD request when the result is awaited or entered."""
        return _Reply(partial(self._request, "HEAD", url, settings))

    async def _request(self, method: str, url: Any, settings: Mapping[str, Any]) -> Any:
        import yarl

        url = url if isinstance(url, yarl.URL) else yarl.URL(url)
        settings = dict(settings)
        settings.pop("allow_redirects", None)
        seen = {str(url)}
        # Once a public host has redirected, no further hop may lead into the local network.
        is_public = False
        for _ in range(MAX_REDIRECTS + 1):
            reply = await self._hop(method, url, settings, is_public)
            target = reply.headers.get("Location") if reply.status in _REDIRECTS else None
            if not target:
                return reply
            is_public = is_public or _is_public(reply)
            origin = origin_of(str(url))
            reply.release()
            url = _redirect_target(url, target, origin)
            if str(url) in seen and not reply.cookies:
                raise ServerError(REDIRECT_LOOP, "redirects in a circle", origin)
            seen.add(str(url))
        raise ServerError(REDIRECT_LOOP, f"redirects more than {MAX_REDIRECTS} times", origin)

    async def _hop(
        self, method: str, url: Any, settings: Mapping[str, Any], is_public_only: bool
    ) -> Any:
        """Send one request, without following a redirect."""
        origin = origin_of(str(url))
        if not origin or not url.host:
            raise ServerError(BAD_URL, "is not a valid URL")
        reason = self._rules.host_refusal(url.host, url.port or 0)
        if is_public_only and not reason:
            reason = self._rules.address_refusal(url.host, url.port or 0, url.host, True)
        if reason:
            raise ServerError(NOT_ALLOWED, reason, origin)
        credentials = self._credentials_of(str(url))
        headers = {**credentials.headers, **settings.get("headers", {})}
        target = url.update_query(credentials.params) if credentials.params else url
        token = _public_only.set(is_public_only)
        try:
            return await self._session.request(
                method,
                target,
                **{
                    **settings,
                    "headers": headers,
                    "cookies": dict(credentials.cookies) or None,
                    "allow_redirects": False,
                },
            )
        except Exception as error:
            raise fault_of(error, origin) from error
        finally:
            _public_only.reset(token)


class _Reply:
    """A reply that is requested when it is awaited or entered, like a reply of aiohttp."""

    def __init__(self, send: Callable[[], Awaitable[Any]]) -> None:
        self._send = send
        self._reply: Any = None

    def __await__(self) -> Generator[Any, None, Any]:
        return self._send().__await__()

    async def __aenter__(self) -> Any:
        self._reply = await self._send()
        return await self._reply.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        await self._reply.__aexit__(*error)


def _authorization_header(auth: object) -> str:
    """Return the Authorization header for a (name, password), or for a text such as `Bearer x`."""
    if isinstance(auth, list | tuple) and len(auth) == 2:
        pair = ":".join(map(str, auth))
        return f"Basic {base64.b64encode(pair.encode()).decode()}"
    return str(auth)


def _redirect_target(url: Any, target: str, origin: str) -> Any:
    import yarl

    try:
        found = url.join(yarl.URL(target))
    except ValueError as error:
        raise ServerError(BAD_URL, "redirects to an invalid URL", origin) from error
    if found.scheme not in ("http", "https"):
        raise ServerError(NOT_ALLOWED, f"redirects to a {found.scheme}: URI", origin)
    return found.with_fragment(None)


def _is_public(reply: Any) -> bool:
    transport = reply.connection.transport if reply.connection else None
    peer: Any = transport.get_extra_info("peername") if transport else None
    # The peer may be a proxy in the local network that answers for a public host.
    return bool(peer) and not is_private(str(peer[0]))


def _new_resolver(rules: HostRules) -> Any:
    """Return a resolver that raises ServerError for an address that a list may not name."""
    from aiohttp.abc import AbstractResolver
    from aiohttp.resolver import ThreadedResolver

    class GuardedResolver(AbstractResolver):
        def __init__(self) -> None:
            self._resolver = ThreadedResolver()

        async def resolve(self, host: str, port: int = 0, *rest: Any, **named: Any) -> Any:
            found = await self._resolver.resolve(host, port, *rest, **named)
            for each in found:
                reason = rules.address_refusal(host, port, each["host"], _public_only.get())
                if reason:
                    raise ServerError(NOT_ALLOWED, reason)
            return found

        async def close(self) -> None:
            await self._resolver.close()

    return GuardedResolver()

"""The HTTP client of all remote files: one place that follows redirects and adds credentials.

Each hop of a redirect is checked against the rules of which hosts may be asked. Headers, cookies
and parameters that a person gave are sent only to the servers that they were given for, so a
redirect to another host loses them.
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

MOST_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_SECRET_NAMES = ("headers", "cookies", "params", "auth")
_REQUEST_NAMES = {"ssl", "proxy", "proxy_auth", "proxy_headers", "server_hostname"}
_FILESYSTEM_NAMES = {
    *("block_size", "cache_options", "cache_type", "encoded", "same_scheme", "simple_links"),
    *("client_kwargs", "use_listings_cache"),
}
_public_only: contextvars.ContextVar[bool] = contextvars.ContextVar("public_only", default=False)


@dataclass(frozen=True)
class Credentials:
    """What one server is sent with each request, and no other is.

    Attributes:
        headers: Headers, with those of a name and password.
        cookies: Cookies.
        params: Parameters that are added to the query.
    """

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Mapping[str, str] = field(default_factory=dict, repr=False)


def credentials_in(options: Mapping[str, Any]) -> Credentials:
    """Return the credentials among the options of an HTTP filesystem.

    Args:
        options: Options as a person gave them, some of them below `client_kwargs`.
    """
    below = options.get("client_kwargs")
    found: dict[str, dict[str, str]] = {"headers": {}, "cookies": {}, "params": {}}
    for given in (below if isinstance(below, Mapping) else {}, options):
        for name, values in found.items():
            if isinstance(extra := given.get(name), Mapping):
                values |= {str(key): str(value) for key, value in extra.items()}
        auth = given.get("auth")
        if auth is None and given.get("username") is not None:
            auth = (given["username"], given.get("password", ""))
        if auth is not None:
            found["headers"]["Authorization"] = _basic(auth)
    return Credentials(**found)


def settings_without_credentials(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of an HTTP filesystem that every server may be asked with.

    Args:
        options: Options as a person gave them; those of other kinds of stores are left out.
    """
    kept = {
        name: value
        for name, value in options.items()
        if name in _REQUEST_NAMES or name in _FILESYSTEM_NAMES
    }
    if isinstance(client := kept.get("client_kwargs"), Mapping):
        kept["client_kwargs"] = {k: v for k, v in client.items() if k not in _SECRET_NAMES}
    return kept


def client_maker(
    rules: HostRules, credentials_of: Callable[[str], Credentials]
) -> Callable[..., Awaitable["GuardedSession"]]:
    """Return what makes the client of an HTTP filesystem of fsspec.

    Args:
        rules: Which hosts may be asked.
        credentials_of: Returns what is sent with a request for a URL.
    """
    return partial(_client, rules, credentials_of)


async def _client(
    rules: HostRules, credentials_of: Callable[[str], Credentials], **settings: Any
) -> "GuardedSession":
    import aiohttp

    if "connector" not in settings:
        # Without a cache of names: each address that a name stands for is checked.
        settings["connector"] = aiohttp.TCPConnector(
            resolver=_guarded_resolver(rules), use_dns_cache=False
        )
    return GuardedSession(aiohttp.ClientSession(**settings), rules, credentials_of)


class GuardedSession:
    """What an HTTP filesystem asks servers by; it has the part of a client session that is used.

    Args:
        session: The client session of aiohttp.
        rules: Which hosts may be asked.
        credentials_of: Returns what is sent with a request for a URL.
    """

    def __init__(
        self, session: Any, rules: HostRules, credentials_of: Callable[[str], Credentials]
    ) -> None:
        self._session = session
        self._rules = rules
        self._credentials_of = credentials_of

    @property
    def _connector(self) -> Any:
        """What fsspec closes at the end of the process."""
        return self._session._connector

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    def get(self, url: Any, **settings: Any) -> "_Reply":
        """Ask for a URL."""
        return _Reply(partial(self._request, "GET", url, settings))

    def head(self, url: Any, **settings: Any) -> "_Reply":
        """Ask for the headers of a URL."""
        return _Reply(partial(self._request, "HEAD", url, settings))

    async def _request(self, method: str, url: Any, settings: Mapping[str, Any]) -> Any:
        import yarl

        url = url if isinstance(url, yarl.URL) else yarl.URL(url)
        settings = dict(settings)
        settings.pop("allow_redirects", None)
        seen = {str(url)}
        # A redirect from the public Internet must not lead into this network.
        is_public = False
        for _ in range(MOST_REDIRECTS + 1):
            reply = await self._hop(method, url, settings, is_public)
            target = reply.headers.get("Location") if reply.status in _REDIRECTS else None
            if not target:
                return reply
            is_public = is_public or _is_public(reply)
            origin = origin_of(str(url))
            reply.release()
            url = _joined(url, target, origin)
            if str(url) in seen and not reply.cookies:
                raise ServerError(REDIRECT_LOOP, "redirects in a circle", origin)
            seen.add(str(url))
        raise ServerError(REDIRECT_LOOP, f"redirects more than {MOST_REDIRECTS} times", origin)

    async def _hop(
        self, method: str, url: Any, settings: Mapping[str, Any], is_public_only: bool
    ) -> Any:
        """One request, without following where it leads."""
        origin = origin_of(str(url))
        if not origin or not url.host:
            raise ServerError(BAD_URL, "is no URL that can be asked for")
        reason = self._rules.host_refusal(url.host, url.port or 0)
        if is_public_only and not reason:
            reason = self._rules.address_refusal(url.host, url.port or 0, url.host, True)
        if reason:
            raise ServerError(NOT_ALLOWED, reason, origin)
        sent = self._credentials_of(str(url))
        headers = {**sent.headers, **settings.get("headers", {})}
        asked = url.update_query(sent.params) if sent.params else url
        token = _public_only.set(is_public_only)
        try:
            return await self._session.request(
                method,
                asked,
                **{
                    **settings,
                    "headers": headers,
                    "cookies": dict(sent.cookies) or None,
                    "allow_redirects": False,
                },
            )
        except Exception as error:
            raise fault_of(error, origin) from error
        finally:
            _public_only.reset(token)


class _Reply:
    """A reply to come, to be awaited or entered, as of aiohttp."""

    def __init__(self, ask: Callable[[], Awaitable[Any]]) -> None:
        self._ask = ask
        self._reply: Any = None

    def __await__(self) -> Generator[Any, None, Any]:
        return self._ask().__await__()

    async def __aenter__(self) -> Any:
        self._reply = await self._ask()
        return await self._reply.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        await self._reply.__aexit__(*error)


def _basic(auth: object) -> str:
    """The header of a name and password, or of a whole one, as `Bearer abc`."""
    if isinstance(auth, list | tuple) and len(auth) == 2:
        pair = ":".join(map(str, auth))
        return f"Basic {base64.b64encode(pair.encode()).decode()}"
    return str(auth)


def _joined(url: Any, target: str, origin: str) -> Any:
    import yarl

    try:
        found = url.join(yarl.URL(target))
    except ValueError as error:
        raise ServerError(BAD_URL, "redirects to what is no URL", origin) from error
    if found.scheme not in ("http", "https"):
        raise ServerError(NOT_ALLOWED, f"redirects to a {found.scheme}: URI", origin)
    return found.with_fragment(None)


def _is_public(reply: Any) -> bool:
    transport = reply.connection.transport if reply.connection else None
    peer: Any = transport.get_extra_info("peername") if transport else None
    # A proxy, which may lie in this network, answers for all hosts.
    return bool(peer) and not is_private(str(peer[0]))


def _guarded_resolver(rules: HostRules) -> Any:
    """A resolver that gives no address that a list of recordings may not name."""
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

"""Rules for the hosts and local files that a list of recordings may name.

A manifest, or a list on standard input, may come from a stranger, but this machine reads its
entries from within its own network. So every URI of a list, every redirect and every address of a
host is checked against these rules:

- The hosts of the user's own SOURCEs and table are always allowed.
- With `--allow-hosts`, all hosts and buckets that it does not name are refused.
- Without it, all hosts are allowed, apart from link-local addresses and instance metadata services,
  which hand out the credentials of a machine.
- A redirect from a public host to an address of the local network is refused.
- With `--no-local`, a list may not name local files.
"""

import fnmatch
import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_HTTP_PORTS = {"http": 80, "https": 443}
_SAME_SCHEMES = {"s3a": "s3", "gcs": "gs"}
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_METADATA_HOSTS = {"metadata.google.internal", "metadata.goog", "metadata"}
_METADATA_ADDRESSES = {
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254")
}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_HINT = "name it with --allow-hosts if it may be read"


@dataclass(frozen=True)
class HostRules:
    """Rules for the URIs and paths in lists of recordings.

    Attributes:
        hosts: Hosts and buckets that a list may name: `example.org`, `example.org:8443`,
            `*.cdn.net`, `10.1.0.0/16` or `s3://bucket`. If empty, all are allowed apart from
            metadata services.
        no_local: Whether lists may not name local files.
        own_origins: Origins and buckets of the user's own sources and table.
    """

    hosts: tuple[str, ...] = ()
    no_local: bool = False
    own_origins: tuple[str, ...] = ()

    def with_own_hosts(self, locations: Iterable[str]) -> "HostRules":
        """Return a copy with the origins and buckets of more locations as the user's own.

        Args:
            locations: Sources and tables, as the user named them.
        """
        found = {origin for location in locations if (origin := origin_of(location))}
        return replace(self, own_origins=tuple(sorted({*self.own_origins, *found})))

    def is_own(self, uri: str) -> bool:
        """Return whether a URI has the origin or bucket of the user's own sources or table."""
        return origin_of(uri) in self.own_origins

    def refusal(self, uri: str) -> str:
        """Return why a list may not name a recording, or an empty text if it may.

        Args:
            uri: URI or local path of the recording.
        """
        origin = origin_of(uri)
        if not origin:
            is_local = _SCHEME.match(uri) is None or uri.lower().startswith(("file:", "local:"))
            if self.no_local and is_local:
                return "a list may not name local files here (--no-local)"
            return ""
        if origin in self.own_origins:
            return ""
        if origin.startswith(("http://", "https://")):
            host, port = _host_and_port(origin)
            return self.host_refusal(host, port)
        if not self.hosts or any(_matches_bucket(pattern, origin) for pattern in self.hosts):
            return ""
        return f"{origin} is not among the hosts that a list may name; {_HINT}"

    def host_refusal(self, host: str, port: int) -> str:
        """Return why no request may be sent to an HTTP server, or an empty text if it may.

        Args:
            host: Name or address of the server.
            port: Port of the server.
        """
        if self._is_named(host, port):
            return ""
        if self.hosts:
            return f"host {host} is not among the hosts that a list may name; {_HINT}"
        if _normalize(host) in _METADATA_HOSTS:
            return f"host {host} hands out the credentials of this machine; {_HINT}"
        address = _parse_address(host)
        return self._address_refusal(host, address) if address else ""

    def address_refusal(self, host: str, port: int, address: str, is_public_only: bool) -> str:
        """Return why no connection may be made to an address, or an empty text if it may.

        Args:
            host: Name of the host that was resolved to the address.
            port: Port of the server.
            address: Address, as a resolver returns it.
            is_public_only: Whether a public host has redirected to the host.
        """
        found = _parse_address(address)
        if found is None or self._is_named(host, port):
            return ""
        if is_public_only and is_private(address):
            return f"a public host redirects to {host}, which is in the local network; {_HINT}"
        return self._address_refusal(host, found)

    def _address_refusal(self, host: str, address: IpAddress) -> str:
        address = _unwrap_ipv4(address)
        is_refused = (
            address.is_link_local
            or address.is_multicast
            or address.is_unspecified
            or address in _METADATA_ADDRESSES
        )
        if not is_refused:
            return ""
        return (
            f"host {host} has the link-local or metadata address {address}, which no list may "
            f"name; {_HINT}"
        )

    def _is_named(self, host: str, port: int) -> bool:
        """Return whether the user has named a server, as a source or with `--allow-hosts`."""
        own = (f"{scheme}://{_bracket_ipv6(_normalize(host))}:{port}" for scheme in _HTTP_PORTS)
        return any(each in self.own_origins for each in own) or any(
            _matches_host(pattern, _normalize(host), port) for pattern in self.hosts
        )


DEFAULT_RULES = HostRules()


def origin_of(uri: str) -> str:
    """Return the origin of a URL, `https://host:443`, or the bucket of a URI, `s3://bucket`.

    The result is empty for a local path and for an invalid URL.
    """
    match = _SCHEME.match(uri)
    if match is None or match[1].lower() in ("file", "local"):
        return ""
    scheme = _SAME_SCHEMES.get(match[1].lower(), match[1].lower())
    if scheme not in _HTTP_PORTS:
        return f"{scheme}://{uri[match.end() :].partition('/')[0]}"
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if not host:
        return ""
    return f"{scheme}://{_bracket_ipv6(_normalize(host))}:{port or _HTTP_PORTS[scheme]}"


def is_private(address: str) -> bool:
    """Return whether an address is outside the public Internet."""
    found = _parse_address(address)
    return found is not None and not _unwrap_ipv4(found).is_global


def _host_and_port(origin: str) -> tuple[str, int]:
    host, _, port = origin.partition("://")[2].rpartition(":")
    return host.strip("[]"), int(port)


def _normalize(host: str) -> str:
    """Normalize a host's name for comparison: lower case, IDNA, no brackets or final dot."""
    host = host.lower().strip("[]").rstrip(".")
    try:
        return host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        return host


def _bracket_ipv6(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _parse_address(host: str) -> IpAddress | None:
    host = host.strip("[]").partition("%")[0]
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        # 2852039166, 0xa9fea9fe and 169.16689662 are valid addresses too.
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def _unwrap_ipv4(address: IpAddress) -> IpAddress:
    """Return the IPv4 address that an IPv6 address embeds, or the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


def _matches_host(pattern: str, host: str, port: int) -> bool:
    if "://" in pattern:
        if not pattern.lower().startswith(("http://", "https://")):
            return False
        return origin_of(pattern) in {f"{s}://{_bracket_ipv6(host)}:{port}" for s in _HTTP_PORTS}
    name, colon, pattern_port = pattern.rpartition(":")
    if colon and pattern_port.isdigit() and (":" not in name or name.endswith("]")):
        if int(pattern_port) != port:
            return False
        pattern = name
    if "/" in pattern:
        address = _parse_address(host)
        try:
            return address is not None and address in ipaddress.ip_network(pattern, strict=False)
        except ValueError:
            return False
    return fnmatch.fnmatchcase(host, _normalize(pattern))


def _matches_bucket(pattern: str, origin: str) -> bool:
    return pattern == "*" or ("://" in pattern and fnmatch.fnmatchcase(origin, origin_of(pattern)))

"""Which hosts and local files a list of recordings may name, and where a redirect may lead.

A manifest, or a list on standard input, may come from a stranger. What it names is read by this
machine, with this machine's network: so every URI of a list, every redirect, and every address
that a host's name stands for is checked here.

- What the person's own SOURCEs and table name is always allowed.
- With `--allow-hosts`, everything remote that it does not name is refused.
- Without it, every host is allowed, but not the addresses of instance metadata and other
  link-local addresses, which hand out the credentials of a machine.
- A redirect from a public host to an address of the local network is refused.
- With `--no-local`, a list may name no local file at all.
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
_ADD_THEM = "name it with --allow-hosts if it may be read"


@dataclass(frozen=True)
class HostRules:
    """What lists of recordings may name.

    Attributes:
        hosts: hosts that a list may name, as `example.org`, `example.org:8443`, `*.cdn.net`,
            `10.1.0.0/16` or `s3://bucket`; empty allows every host but metadata services.
        no_local: a list may name no local file.
        own: origins and buckets that the person's own sources and table name.
    """

    hosts: tuple[str, ...] = ()
    no_local: bool = False
    own: tuple[str, ...] = ()

    def owning(self, locations: Iterable[str]) -> "HostRules":
        """Return these rules with the origins and buckets of more locations as the person's own.

        Args:
            locations: Sources and tables, as the person names them.
        """
        found = {origin for location in locations if (origin := origin_of(location))}
        return replace(self, own=tuple(sorted({*self.own, *found})))

    def is_own(self, uri: str) -> bool:
        """Whether a person's own source or table lies at the origin, or in the bucket, of a URI."""
        return origin_of(uri) in self.own

    def refusal(self, uri: str) -> str:
        """Say why a list may not name a recording; empty where it may.

        Args:
            uri: The URI or the local path of the recording.
        """
        origin = origin_of(uri)
        if not origin:
            is_local = _SCHEME.match(uri) is None or uri.lower().startswith(("file:", "local:"))
            if self.no_local and is_local:
                return "a list may name no local file here (--no-local)"
            return ""
        if origin in self.own:
            return ""
        if origin.startswith(("http://", "https://")):
            host, port = _host_and_port(origin)
            return self.host_refusal(host, port)
        if not self.hosts or any(_is_bucket_pattern_of(pattern, origin) for pattern in self.hosts):
            return ""
        return f"{origin} is not among the hosts that a list may name; {_ADD_THEM}"

    def host_refusal(self, host: str, port: int) -> str:
        """Say why an HTTP server may not be asked; empty where it may.

        Args:
            host: The name or address of the server.
            port: The port of the server.
        """
        if self._is_named(host, port):
            return ""
        if self.hosts:
            return f"host {host} is not among the hosts that a list may name; {_ADD_THEM}"
        if _plain(host) in _METADATA_HOSTS:
            return f"host {host} hands out the credentials of this machine; {_ADD_THEM}"
        address = _as_address(host)
        return self._address_refusal(host, address) if address else ""

    def address_refusal(self, host: str, port: int, address: str, is_public_only: bool) -> str:
        """Say why a connection may not be made to an address; empty where it may.

        Args:
            host: The name that stands for the address.
            port: The port of the server.
            address: The address, as a resolver gives it.
            is_public_only: A public host has redirected here.
        """
        found = _as_address(address)
        if found is None or self._is_named(host, port):
            return ""
        if is_public_only and is_private(address):
            return f"a public host redirects to {host}, which lies in this network; {_ADD_THEM}"
        return self._address_refusal(host, found)

    def _address_refusal(self, host: str, address: IpAddress) -> str:
        address = _embedded(address)
        is_refused = (
            address.is_link_local
            or address.is_multicast
            or address.is_unspecified
            or address in _METADATA_ADDRESSES
        )
        if not is_refused:
            return ""
        return (
            f"host {host} is the link-local or metadata address {address}, which no list may "
            f"name; {_ADD_THEM}"
        )

    def _is_named(self, host: str, port: int) -> bool:
        """Whether the person has named a server, as a source or with `--allow-hosts`."""
        own = (f"{scheme}://{_bracketed(_plain(host))}:{port}" for scheme in _HTTP_PORTS)
        return any(each in self.own for each in own) or any(
            _is_host_pattern_of(pattern, _plain(host), port) for pattern in self.hosts
        )


DEFAULT_RULES = HostRules()


def origin_of(uri: str) -> str:
    """Return `https://host:443` of a URL and `s3://bucket` of a URI; empty for a local path.

    The origin of a URL that makes no sense is empty as well.
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
    return f"{scheme}://{_bracketed(_plain(host))}:{port or _HTTP_PORTS[scheme]}" if host else ""


def is_private(address: str) -> bool:
    """Whether an address is not one of the public Internet."""
    found = _as_address(address)
    return found is not None and not _embedded(found).is_global


def _host_and_port(origin: str) -> tuple[str, int]:
    host, _, port = origin.partition("://")[2].rpartition(":")
    return host.strip("[]"), int(port)


def _plain(host: str) -> str:
    """A host's name in the form in which names are compared."""
    host = host.lower().strip("[]").rstrip(".")
    try:
        return host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        return host


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _as_address(host: str) -> IpAddress | None:
    host = host.strip("[]").partition("%")[0]
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        # 2852039166, 0xa9fea9fe and 169.16689662 are addresses as well.
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def _embedded(address: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 address leads to, where it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address


def _is_host_pattern_of(pattern: str, host: str, port: int) -> bool:
    if "://" in pattern:
        if not pattern.lower().startswith(("http://", "https://")):
            return False
        return origin_of(pattern) in {f"{s}://{_bracketed(host)}:{port}" for s in _HTTP_PORTS}
    name, colon, its_port = pattern.rpartition(":")
    if colon and its_port.isdigit() and (":" not in name or name.endswith("]")):
        if int(its_port) != port:
            return False
        pattern = name
    if "/" in pattern:
        address = _as_address(host)
        try:
            return address is not None and address in ipaddress.ip_network(pattern, strict=False)
        except ValueError:
            return False
    return fnmatch.fnmatchcase(host, _plain(pattern))


def _is_bucket_pattern_of(pattern: str, origin: str) -> bool:
    return pattern == "*" or ("://" in pattern and fnmatch.fnmatchcase(origin, origin_of(pattern)))

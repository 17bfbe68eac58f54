"""A check of URIs of recordings, sources and tables: schemes that are no store are refused.

fsspec also knows schemes of archives, caches and references, which open further files named inside
the URI. They are refused, so that a manifest cannot reach files that no rule has checked.
"""

from urllib.parse import urlsplit

from fsspec.registry import known_implementations

from pipeline.errors import UsageError
from pipeline.io.protocols import HTTP_PROTOCOLS, is_remote, protocol_of

# fmt: off
_NO_STORES = {
    "async_wrapper", "asynclocal", "asyncwrapper", "blockcache", "cached", "dask", "data", "dir",
    "filecache", "generic", "gist", "git", "github", "jlab", "jupyter", "libarchive", "pyscript",
    "reference", "simplecache", "tar", "zip",
}
# fmt: on
_ARCHIVES = {"zip", "tar", "libarchive"}


def check_uri(location: str) -> None:
    """Raise UsageError if a location is a URI that cannot name a recording or a table.

    Args:
        location: Path or URI, as the user or a manifest wrote it.
    """
    if not is_remote(location):
        return
    scheme = protocol_of(location)
    shown = _quote_without_secrets(location)
    if scheme in _ARCHIVES:
        raise UsageError(
            f"{shown}: files inside archives have no URI here; name the archive's own location as "
            "a SOURCE where it is a tar, or unpack it"
        )
    if scheme in _NO_STORES or scheme not in known_implementations:
        raise UsageError(
            f"{shown}: the scheme {scheme!r} is not one of a store; use a path, or http(s)://, "
            "s3://, gs://, az:// or another store's"
        )
    rest = location.partition("://")[2]
    if not rest.strip("/"):
        raise UsageError(f"{shown}: names no {'host' if scheme in HTTP_PROTOCOLS else 'bucket'}")
    if scheme in HTTP_PROTOCOLS:
        try:
            parts = urlsplit(location)
            has_host = bool(parts.hostname) and parts.port != 0
        except ValueError as error:
            raise UsageError(f"{shown}: is no valid URL ({error})") from error
        if not has_host:
            raise UsageError(f"{shown}: is no valid URL (it names no host)")


def _quote_without_secrets(location: str) -> str:
    """Quote a location without its query and user, which may be secrets, even if it is invalid."""
    scheme, separator, rest = location.partition("://")
    host, slash, path = rest.partition("?")[0].partition("#")[0].partition("/")
    return repr(f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"[:200])

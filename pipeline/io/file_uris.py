"""Local paths of file URIs, in all forms: `file:///x`, `file://localhost/x` and `file:/x`."""

from pipeline.clips import uri_to_path
from pipeline.errors import UsageError
from pipeline.io.protocols import is_remote, is_uri

_LOCAL_HOSTS = ("", "localhost", "127.0.0.1")


def local_path(location: str) -> str:
    """Return the local path of a location; a path or a remote URI stays unchanged.

    Raises:
        UsageError: The location is a file URI of another machine.
    """
    if is_remote(location) or not is_uri(location):
        return location
    rest = location.partition(":")[2]
    if not rest.startswith("//"):
        return uri_to_path(f"file://{rest}")
    host, slash, path = rest[2:].partition("/")
    if host.lower() not in _LOCAL_HOSTS:
        raise UsageError(
            f"{location!r}: names a file on the machine {host!r}; the URI of an absolute path is "
            f"file:///{path or host}"
        )
    return uri_to_path(f"file://{slash}{path}")

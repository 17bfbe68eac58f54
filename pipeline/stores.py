"""A table's location to its store."""

from pipeline.clips import uri_to_path
from pipeline.local_store import LocalStore
from pipeline.remote_store import RemoteStore
from pipeline.storage import DEFAULT_STORAGE, Storage, is_uri, protocol_of
from pipeline.store import TableStore


def open_store(location: str, storage: Storage = DEFAULT_STORAGE) -> TableStore:
    """The store of a table; nothing is made or asked yet.

    Args:
        location: a local path, or a URI.
        storage: how remote locations are reached.

    Raises:
        UsageError: no such kind of store.
    """
    if not is_uri(location):
        return LocalStore(location)
    if protocol_of(location) == "file":
        return LocalStore(uri_to_path(location))
    return RemoteStore(location, storage)

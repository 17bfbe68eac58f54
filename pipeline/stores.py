"""A table's location to its store."""

from pipeline.file_uris import local_path
from pipeline.local_store import LocalStore
from pipeline.remote_store import RemoteStore
from pipeline.schemes import check_uri
from pipeline.storage import DEFAULT_STORAGE, Storage, is_remote
from pipeline.store import TableStore


def open_store(location: str, storage: Storage = DEFAULT_STORAGE) -> TableStore:
    """The store of a table; nothing is made or asked yet.

    Args:
        location: a local path, or a URI.
        storage: how remote locations are reached.

    Raises:
        UsageError: no such kind of store.
    """
    check_uri(location)
    if not is_remote(location):
        return LocalStore(local_path(location))
    return RemoteStore(location, storage)

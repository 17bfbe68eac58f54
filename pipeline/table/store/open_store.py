"""A table's location to its store."""

from pipeline.io.file_uris import local_path
from pipeline.io.schemes import check_uri
from pipeline.io.storage import DEFAULT_STORAGE, Storage, is_remote
from pipeline.table.store.base import TableStore
from pipeline.table.store.local import LocalStore
from pipeline.table.store.remote import RemoteStore


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

"""Opening the store of a table by its location."""

from pipeline.io.file_uris import local_path
from pipeline.io.protocols import is_remote
from pipeline.io.schemes import check_uri
from pipeline.io.storage import DEFAULT_STORAGE, Storage
from pipeline.table.store.base import TableStore
from pipeline.table.store.local import LocalStore
from pipeline.table.store.remote import RemoteStore


def open_store(location: str, storage: Storage = DEFAULT_STORAGE) -> TableStore:
    """Open the store of a table; nothing is created or requested yet.

    Args:
        location: Local path or URI of the table.
        storage: Access to remote locations.

    Raises:
        UsageError: The URI has an unknown protocol.
    """
    check_uri(location)
    if not is_remote(location):
        return LocalStore(local_path(location))
    return RemoteStore(location, storage)

"""A filesystem of fsspec with retries, and with errors that name the table."""

from collections.abc import Callable
from typing import Any, TypeVar

from pipeline.errors import StoreError, UsageError
from pipeline.io.objects import filesystem_lock, read_range
from pipeline.io.protocols import protocol_of
from pipeline.io.storage import Storage, first_line
from pipeline.io.upload import is_no_bucket

T = TypeVar("T")


class RemoteClient:
    """The filesystem that a table lies on.

    Args:
        uri: URI of the table.
        storage: Access to the store.

    Attributes:
        filesystem: The filesystem of fsspec.
        protocol: Protocol of the URI.
    """

    def __init__(self, uri: str, storage: Storage) -> None:
        self._uri = uri
        self._storage = storage
        self.protocol = protocol_of(uri)
        self.filesystem: Any = storage.filesystem(uri)
        self._guard = filesystem_lock(self.protocol)

    def do(self, what: str, call: Callable[[], T]) -> T:
        """Run an operation, and retry it while the store is unavailable.

        Args:
            what: Sentence for messages: what cannot be done to which URI.
            call: Does the operation; must be safe to repeat.

        Raises:
            FileNotFoundError, FileExistsError: The store reports it.
            UsageError: The bucket does not exist.
            StoreError: The operation failed.
        """
        try:
            with self._guard:
                return self._storage.retry(what, call)
        except FileNotFoundError as error:
            if is_no_bucket(error):
                raise UsageError(
                    f"table {self._uri}: there is no such bucket; make it, or name another"
                ) from error
            raise
        except PermissionError as error:
            raise StoreError(
                f"{what}: no permission ({self._storage.redact(first_line(error))}); the "
                "credentials have to allow reading, writing, deleting and listing here"
            ) from error

    def listed(self, path: str) -> list[dict[str, Any]]:
        """List the entries of a folder; empty for a missing folder."""
        try:
            listed: list[dict[str, Any]] = self.do(
                f"{path} cannot be listed", lambda: self._fresh().ls(path, detail=True)
            )
        except FileNotFoundError:
            return []
        return listed

    def size(self, path: str) -> int | None:
        """Return the size of a file in bytes; None for a missing file."""
        try:
            found = self.do(f"{path} cannot be found", lambda: self._fresh().info(path))
        except FileNotFoundError:
            return None
        return int(found["size"]) if found["type"] == "file" else None

    def fetch(self, path: str, start: int, end: int) -> bytes:
        """Return the bytes of a file from one offset to another, exactly."""
        return self.do(
            f"{path} cannot be read", lambda: read_range(self.filesystem, path, start, end)
        )

    def _fresh(self) -> Any:
        # Some filesystems cache listings, and other processes write to the table as well.
        self.filesystem.invalidate_cache()
        return self.filesystem

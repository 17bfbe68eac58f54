"""One filesystem of fsspec, asked again while it is out of order, and its errors in our words."""

from collections.abc import Callable
from typing import Any, TypeVar

from pipeline.errors import StoreError, UsageError
from pipeline.io.objects import filesystem_lock, read_range
from pipeline.io.storage import Storage, first_line, protocol_of
from pipeline.io.upload import is_no_bucket

T = TypeVar("T")


class RemoteClient:
    """What a table asks of the filesystem that it lies on.

    Args:
        uri: of the table.
        storage: how it is reached.

    Attributes:
        filesystem: of fsspec.
        protocol: of the URI.
    """

    def __init__(self, uri: str, storage: Storage) -> None:
        self._uri = uri
        self._storage = storage
        self.protocol = protocol_of(uri)
        self.filesystem: Any = storage.filesystem(uri)
        self._guard = filesystem_lock(self.protocol)

    def do(self, what: str, call: Callable[[], T]) -> T:
        """Do something, again and again while the store is out of order.

        Args:
            what: cannot be done to which URI; for the message.
            call: does it; must be safe to repeat.

        Raises:
            FileNotFoundError, FileExistsError: as the store says.
            UsageError: there is no such bucket.
            StoreError: it did not work.
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
        """What lies in a folder; empty where there is none."""
        try:
            listed: list[dict[str, Any]] = self.do(
                f"{path} cannot be listed", lambda: self._fresh().ls(path, detail=True)
            )
        except FileNotFoundError:
            return []
        return listed

    def size(self, path: str) -> int | None:
        """Size of a file in bytes, None where there is none."""
        try:
            found = self.do(f"{path} cannot be found", lambda: self._fresh().info(path))
        except FileNotFoundError:
            return None
        return int(found["size"]) if found["type"] == "file" else None

    def fetch(self, path: str, start: int, end: int) -> bytes:
        """Bytes of a file from one offset to another, exactly."""
        return self.do(
            f"{path} cannot be read", lambda: read_range(self.filesystem, path, start, end)
        )

    def _fresh(self) -> Any:
        # Some filesystems remember listings; others write to the table as well.
        self.filesystem.invalidate_cache()
        return self.filesystem

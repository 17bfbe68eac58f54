"""A table in an object store, or in another store that fsspec reaches.

Files are written to a local temporary file first and uploaded whole. Every request is retried while
the store is unavailable. A lease keeps a second run away, because such stores have no locks.
"""

import contextlib
import itertools
import os
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.errors import StoreError, UsageError
from pipeline.io.range_file import open_range_file
from pipeline.io.signed_urls import refuse_password
from pipeline.io.storage import Storage
from pipeline.io.upload import S3, upload, upload_and_rename
from pipeline.table.store import conditional_put
from pipeline.table.store.base import ignore
from pipeline.table.store.client import RemoteClient
from pipeline.table.store.hold import Hold
from pipeline.table.store.lease import Lease
from pipeline.table.store.lease_file import LEASE_S, LEASES_DIR, Holder, live_holder, taken_by
from pipeline.table_layout import META_DIR, TEMP_DIR, is_temp_name

PROBE_NAME = f"{META_DIR}/probe"
_READERS, _READ_AHEAD = 16, 1024
_PROBE = b"passtream writes this once, and asks again to see that the store refuses\n"


class RemoteStore:
    """The files of one table below a URI.

    Args:
        uri: URI of the folder, or of the key prefix.
        storage: Access to the store.
        lease_s: Seconds for which a run that was killed keeps others away.

    Raises:
        UsageError: The URI has an unknown protocol, or a password.
    """

    def __init__(self, uri: str, storage: Storage, lease_s: float = LEASE_S) -> None:
        refuse_password(uri, "table")
        self._uri = uri.rstrip("/")
        self._client = RemoteClient(self._uri, storage)
        self._lease_s = lease_s
        # An object store shows no file before it is whole, and has no folders to create.
        self._is_object_store = self._client.protocol in conditional_put.CONDITIONAL

    @property
    def location(self) -> str:
        """URI of the table."""
        return self._uri

    @cached_property
    def has_conditional_put(self) -> bool:
        """Whether the store refuses to overwrite; tested once, by creating a file that stays."""
        return self._is_object_store and self._client.do(
            f"{self.locate(PROBE_NAME)} cannot be created",
            lambda: conditional_put.refuses_to_overwrite(lambda: self._create(PROBE_NAME, _PROBE)),
        )

    def notes(self) -> list[str]:
        """Return a note if the store has no conditional put."""
        if self.has_conditional_put:
            return []
        return [
            f"table {self._uri}: this store cannot refuse to overwrite a file (it has no "
            "conditional put); a lease file keeps a second run away, so start no two within seconds"
        ]

    def locate(self, name: str) -> str:
        """Return the URI of a file of the table."""
        return f"{self._uri}/{name}"

    def entries(self) -> list[str]:
        """Return the names directly below the URI; empty where there are none.

        Raises:
            UsageError: The URI is a file, or the bucket does not exist.
        """
        found = self._client.listed(self._uri)
        root = self._client.filesystem._strip_protocol(self._uri)
        if any(entry["name"] == root and entry["type"] == "file" for entry in found):
            raise UsageError(f"table {self._uri}: is a file; name a new or empty folder")
        return sorted(name for entry in found if (name := _base(entry)))

    def create(self, folders: tuple[str, ...]) -> None:
        """Check that the table can be written to, and create folders in stores that have them.

        Raises:
            UsageError: The table cannot be written to.
        """
        try:
            if not self._is_object_store:
                for path in map(self.locate, (*folders, TEMP_DIR, LEASES_DIR)):
                    self._client.do(f"{path} cannot be made", partial(self._make, path))
            _ = self.has_conditional_put  # finds out by writing
        except StoreError as error:
            raise UsageError(f"table {self._uri}: cannot be made: {error}") from error

    def names(self, folder: str) -> dict[str, int]:
        """Return the files of a folder with their sizes in bytes; empty for a missing folder."""
        return {
            name: entry["size"]
            for entry in self._client.listed(self.locate(folder))
            if entry["type"] == "file" and (name := _base(entry))
        }

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes; None for a missing file."""
        return self._client.size(self.locate(name))

    def read(self, name: str) -> bytes | None:
        """Return the content of a small file; None for a missing file."""
        path = self.locate(name)
        # One request. By default s3fs asks for the size first, to read large files in parts.
        options = {"max_concurrency": 1} if self._client.protocol in S3 else {}
        try:
            content: bytes = self._client.do(
                f"{path} cannot be read",
                lambda: self._client.filesystem.cat_file(path, **options),
            )
        except FileNotFoundError:
            return None
        return content

    def read_many(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield names with their contents, in order; several threads read ahead."""
        rest = iter(names)
        with ThreadPoolExecutor(_READERS) as pool:
            while some := list(itertools.islice(rest, _READ_AHEAD)):
                yield from zip(some, pool.map(self.read, some), strict=True)

    def open(self, name: str) -> pa.NativeFile:
        """Open a file for reading; raise FileNotFoundError for a missing file."""
        path = self.locate(name)
        size = self.size(name)
        if size is None:
            raise FileNotFoundError(f"{path} is gone")
        file = open_range_file(size, lambda start, end: self._client.fetch(path, start, end))
        return pa.PythonFile(file, mode="r")

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """Open a local path for writing; at the end of the block it is uploaded as `name`.

        Raises:
            StoreError: The store, or the local disk, refused; `name` is as it was.
        """
        path = self.locate(name)
        try:
            with _local_file() as temp:
                yield temp
                self._client.do(f"{path} cannot be written", lambda: self._upload(str(temp), path))
        except OSError as error:
            raise StoreError(
                f"{path} cannot be written by way of {tempfile.gettempdir()} (TMPDIR names "
                f"another place): {error}"
            ) from error

    def put_if_absent(self, name: str, content: bytes) -> bool:
        """Create a file; return False, without a change, if it exists with other content."""
        what = f"{self.locate(name)} cannot be created"
        if not self.has_conditional_put:
            found = self.read(name)
            if found is None:
                self._client.do(what, lambda: self._put(name, content))
            return found in (None, content)
        try:
            self._client.do(what, lambda: self._create(name, content))
        except FileExistsError:
            # It is this writer's file if the reply to an earlier attempt was lost.
            return self.read(name) == content
        return True

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""
        path = self.locate(name)
        with contextlib.suppress(FileNotFoundError):
            self._client.do(
                f"{path} cannot be deleted", lambda: self._client.filesystem.rm_file(path)
            )

    @contextlib.contextmanager
    def lock(
        self, say: Callable[[str], None] = ignore, on_lost: Callable[[], None] = ignore
    ) -> Iterator[Hold]:
        """Hold the table for writing, by a lease; also delete half-written files.

        Args:
            say: Called with how long a lease is watched.
            on_lost: Called from another thread where another run has taken the table.

        Raises:
            UsageError: Another run holds it; the message says which.
            LostTableError: At the end, where another run has taken it.
        """
        with Lease(self, self._lease_s).held(say, on_lost) as hold:
            for leftover in filter(is_temp_name, self.names(TEMP_DIR)):
                self.delete(f"{TEMP_DIR}/{leftover}")
            yield hold

    def taken_by(self, hold: Hold) -> str | None:
        """Return who has the table in place of a hold; one request while the hold counts."""
        return taken_by(self, hold)

    def writer(self) -> Holder | None:
        """Return the holder of the table's lease; None where no run holds it."""
        return live_holder(self)

    def _make(self, path: str) -> None:
        self._client.filesystem.makedirs(path, exist_ok=True)

    def _create(self, name: str, content: bytes) -> None:
        conditional_put.create(self._client.filesystem, self.locate(name), content)

    def _put(self, name: str, content: bytes) -> None:
        self._client.filesystem.pipe_file(self.locate(name), content)

    def _upload(self, temp: str, path: str) -> None:
        filesystem = self._client.filesystem
        if self._is_object_store:
            upload(filesystem, self._client.protocol, temp, path)
        else:
            beside = self.locate(f"{TEMP_DIR}/{uuid.uuid4().hex}")
            upload_and_rename(filesystem, temp, beside, path)


@contextlib.contextmanager
def _local_file() -> Iterator[Path]:
    """Open a temporary file, without a name where possible, so that a kill leaves nothing."""
    handle, temp = tempfile.mkstemp(prefix="passtream-")
    try:
        by_handle = Path(f"/proc/self/fd/{handle}")
        if by_handle.exists():
            os.unlink(temp)
            yield by_handle
        else:
            yield Path(temp)
    finally:
        os.close(handle)
        Path(temp).unlink(missing_ok=True)


def _base(entry: dict[str, Any]) -> str:
    name: str = entry["name"]
    return name.rstrip("/").rpartition("/")[2]

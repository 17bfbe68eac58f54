"""Stores of checkpoints: a local folder or a URI that fsspec opens, with a sha256 per file.

The record `FILE.sha256` is written after `FILE`. A file without a record is incomplete, and a file
that does not match its record is damaged. Files never appear half-written: a folder gets them by a
rename, an object store by a put.
"""

import contextlib
import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from models.errors import WeightsError, first_line

OnProgress = Callable[[int, int | None], None]
"""Callback that gets the bytes done and the total bytes (None if the host does not report it)."""

CHUNK_BYTES = 1 << 20
"""Bytes per read when a checkpoint is copied or hashed."""
_URI = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_uri(location: str) -> bool:
    """Return whether a location is a URI for fsspec rather than a local path."""
    return _URI.match(location) is not None


class FolderStore:
    """A store in a local or mounted folder; its checkpoints are read in place.

    Args:
        root: Folder of the checkpoints; the first `put` creates it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def locate(self, name: str) -> str:
        """Return the path of a file of the store."""
        return str(self.root / name)

    def names(self) -> set[str]:
        """Return the names of the files in the store."""
        with _translate_errors(self), contextlib.suppress(FileNotFoundError):
            return {path.name for path in self.root.iterdir()}
        return set()

    def recorded_digest(self, name: str) -> str | None:
        """Return the recorded sha256 of a file; None if it has no record.

        Raises:
            WeightsError: The record cannot be read or holds no sha256.
        """
        with _translate_errors(self), contextlib.suppress(FileNotFoundError):
            return parse_record((self.root / record_name(name)).read_bytes(), self.locate(name))
        return None

    def digest(self, name: str) -> str | None:
        """Compute the sha256 of a file; None if the file does not exist."""
        with _translate_errors(self), contextlib.suppress(FileNotFoundError):
            return file_digest(self.root / name)
        return None

    def put(self, name: str, content: bytes, digest: str) -> None:
        """Write a file, then its record, replacing existing ones."""
        with _translate_errors(self, "written to"), replacing(self.root / name) as file:
            file.write(content)
        self.record_digest(name, digest)

    def record_digest(self, name: str, digest: str) -> None:
        """Write the sha256 record of a file."""
        path = self.root / record_name(name)
        with _translate_errors(self, "written to"), replacing(path) as file:
            file.write(f"{digest}\n".encode())


class RemoteStore:
    """A store under a URI that fsspec opens; its checkpoints are downloaded before use.

    Args:
        uri: URI of the store, for example `s3://bucket/prefix`.

    Raises:
        WeightsError: The protocol is unknown to fsspec, or its package is not installed.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        with _translate_errors(self):
            from fsspec.core import url_to_fs  # imported here: local stores do not need fsspec

            self._fs: Any
            self._fs, self._root = url_to_fs(self.uri)

    def __str__(self) -> str:
        return self.uri

    def locate(self, name: str) -> str:
        """Return the URI of a file of the store."""
        return f"{self.uri}/{name}"

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def names(self) -> set[str]:
        """Return the names of the files in the store."""
        with _translate_errors(self), contextlib.suppress(FileNotFoundError):
            self._fs.invalidate_cache()
            return {path.rsplit("/", 1)[-1] for path in self._fs.ls(self._root, detail=False)}
        return set()

    def recorded_digest(self, name: str) -> str | None:
        """Return the recorded sha256 of a file; None if it has no record.

        Raises:
            WeightsError: The record cannot be read or holds no sha256.
        """
        with _translate_errors(self), contextlib.suppress(FileNotFoundError):
            return parse_record(self._fs.cat_file(self._path(record_name(name))), self.locate(name))
        return None

    def digest(self, name: str) -> str | None:
        """Read a whole file and compute its sha256; None if the file does not exist."""
        with _translate_errors(self), contextlib.suppress(FileNotFoundError):
            digest = hashlib.sha256()
            with self._fs.open(self._path(name), "rb") as source:
                while chunk := source.read(CHUNK_BYTES):
                    digest.update(chunk)
            return digest.hexdigest()
        return None

    def fetch(
        self, name: str, recorded: str, path: Path, on_progress: OnProgress | None = None
    ) -> None:
        """Download a file to `path`, which stays unchanged if the download or the check fails.

        Args:
            name: Name of the file in the store.
            recorded: Expected sha256, as recorded in the store.
            path: Local path of the copy; an existing file is replaced.
            on_progress: Callback for the bytes downloaded.

        Raises:
            FileNotFoundError: The store does not have the file.
            WeightsError: The file cannot be read, or it does not have the expected sha256.
        """
        digest = hashlib.sha256()
        with (
            _translate_errors(self),
            self._fs.open(self._path(name), "rb") as source,
            replacing(path) as file,
        ):
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
                if on_progress:
                    on_progress(file.tell(), getattr(source, "size", None))
            check_digest(self.locate(name), digest.hexdigest(), recorded)

    def put(self, name: str, content: bytes, digest: str) -> None:
        """Write a file, then its record, replacing existing ones."""
        with _translate_errors(self, "written to"):
            self._fs.pipe_file(self._path(name), content)
            self._fs.pipe_file(self._path(record_name(name)), f"{digest}\n".encode())


Store = FolderStore | RemoteStore


def open_store(location: str) -> Store:
    """Return the store at a path or URI, without reading or creating anything.

    Raises:
        WeightsError: The protocol of the URI is unknown or its package is not installed.
    """
    if not is_uri(location):
        return FolderStore(Path(location).expanduser().absolute())
    parts = urlsplit(location)
    return (
        FolderStore(Path(unquote(parts.path))) if parts.scheme == "file" else RemoteStore(location)
    )


def record_name(name: str) -> str:
    """Return the name of the record file that holds the sha256 of file `name`."""
    return f"{name}.sha256"


def parse_record(content: bytes, location: str) -> str:
    """Return the digest in a record: a bare sha256, or the output of `sha256sum`.

    Args:
        content: Content of the record file.
        location: Path or URI of the checkpoint, for the error message.

    Raises:
        WeightsError: The record does not start with a sha256.
    """
    fields = content.decode("ascii", "replace").lower().split()
    if not fields or not _SHA256.fullmatch(fields[0]):
        raise WeightsError(
            f"{record_name(location)} holds no sha256; write the output of `sha256sum` for "
            f"{location} to it"
        )
    return fields[0]


def check_digest(location: str, digest: str, recorded: str) -> None:
    """Compare the digest of a file with its record.

    Args:
        location: Path or URI of the file, for the error message.
        digest: Computed sha256 of the file.
        recorded: Recorded sha256 of the file.

    Raises:
        WeightsError: The digests differ.
    """
    if digest != recorded:
        raise WeightsError(
            f"{location} has sha256 {digest}, but {record_name(location)} says {recorded}: the "
            "file is damaged or a different one; replace it with passtream models pull"
        )


def file_digest(path: Path) -> str:
    """Return the sha256 of a file as a hex string."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces `path` atomically when the block ends without error."""
    # `tempfile` is not used, as its files are private to their owner and a cache may be shared.
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


@contextlib.contextmanager
def _translate_errors(store: "Store", operation: str = "read") -> Iterator[None]:
    """Raise any error of a file system or object store as a `WeightsError` of one line.

    Args:
        store: Store that is accessed.
        operation: Participle for the message, `read` or `written to`. A file that is not found
            while reading stays a `FileNotFoundError`.
    """
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:
        if isinstance(error, FileNotFoundError) and operation == "read":
            raise
        raise WeightsError(
            f"{store}, where models are kept, cannot be {operation}: {first_line(error)}; check "
            "the address, and the permissions or credentials"
        ) from error

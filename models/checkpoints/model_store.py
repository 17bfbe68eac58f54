"""Where checkpoints are kept: a folder, or a URI that fsspec opens; a sha256 beside each file.

`FILE.sha256` is written after `FILE` and decides: a file whose record is missing is not there yet,
and one that does not match its record is damaged. Everything appears whole: in folders by a rename,
in object stores by their put.
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
"""Called with bytes done and bytes in all (None where the host does not say)."""

CHUNK_BYTES = 1 << 20
_URI = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_uri(location: str) -> bool:
    """Whether fsspec is to open it; else it is a path."""
    return _URI.match(location) is not None


class FolderStore:
    """Checkpoints in a local folder, or one that is mounted; they are read in place.

    Args:
        root: the folder; made by the first `put`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def locate(self, name: str) -> str:
        """Path of a file."""
        return str(self.root / name)

    def names(self) -> set[str]:
        """Files that are there."""
        with _told(self), contextlib.suppress(FileNotFoundError):
            return {path.name for path in self.root.iterdir()}
        return set()

    def recorded(self, name: str) -> str | None:
        """The sha256 beside a file; None where there is none.

        Raises:
            WeightsError: it cannot be read, or is no sha256.
        """
        with _told(self), contextlib.suppress(FileNotFoundError):
            return parse_record((self.root / record_name(name)).read_bytes(), self.locate(name))
        return None

    def digest(self, name: str) -> str | None:
        """The sha256 of what a file holds; None where it is not there."""
        with _told(self), contextlib.suppress(FileNotFoundError):
            return file_digest(self.root / name)
        return None

    def put(self, name: str, content: bytes, digest: str) -> None:
        """Write a file, then its record; what is there is replaced."""
        with _told(self, "written to"), replacing(self.root / name) as file:
            file.write(content)
        self.record(name, digest)

    def record(self, name: str, digest: str) -> None:
        """Write the sha256 beside a file."""
        with _told(self, "written to"), replacing(self.root / record_name(name)) as file:
            file.write(f"{digest}\n".encode())


class RemoteStore:
    """Checkpoints below a URI of anything that fsspec opens.

    Args:
        uri: of the folder, as `s3://bucket/prefix`.

    Raises:
        WeightsError: fsspec knows no such protocol, or its package is not installed.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        with _told(self):
            from fsspec.core import url_to_fs  # only URIs need it

            self._fs: Any
            self._fs, self._root = url_to_fs(self.uri)

    def __str__(self) -> str:
        return self.uri

    def locate(self, name: str) -> str:
        """URI of a file."""
        return f"{self.uri}/{name}"

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def names(self) -> set[str]:
        """Files that are there."""
        with _told(self), contextlib.suppress(FileNotFoundError):
            self._fs.invalidate_cache()
            return {path.rsplit("/", 1)[-1] for path in self._fs.ls(self._root, detail=False)}
        return set()

    def recorded(self, name: str) -> str | None:
        """The sha256 beside a file; None where there is none.

        Raises:
            WeightsError: it cannot be read, or is no sha256.
        """
        with _told(self), contextlib.suppress(FileNotFoundError):
            return parse_record(self._fs.cat_file(self._path(record_name(name))), self.locate(name))
        return None

    def digest(self, name: str) -> str | None:
        """The sha256 of what a file holds, which is read for it; None where it is not there."""
        with _told(self), contextlib.suppress(FileNotFoundError):
            digest = hashlib.sha256()
            with self._fs.open(self._path(name), "rb") as source:
                while chunk := source.read(CHUNK_BYTES):
                    digest.update(chunk)
            return digest.hexdigest()
        return None

    def fetch(
        self, name: str, recorded: str, path: Path, on_progress: OnProgress | None = None
    ) -> None:
        """Copy a file to `path`, which appears whole and with the recorded sha256, or not at all.

        Raises:
            FileNotFoundError: it is not there.
            WeightsError: it cannot be read, or its sha256 is another.
        """
        digest = hashlib.sha256()
        with _told(self), self._fs.open(self._path(name), "rb") as source, replacing(path) as file:
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
                if on_progress:
                    on_progress(file.tell(), getattr(source, "size", None))
            check_digest(self.locate(name), digest.hexdigest(), recorded)

    def put(self, name: str, content: bytes, digest: str) -> None:
        """Write a file, then its record; what is there is replaced."""
        with _told(self, "written to"):
            self._fs.pipe_file(self._path(name), content)
            self._fs.pipe_file(self._path(record_name(name)), f"{digest}\n".encode())


Store = FolderStore | RemoteStore


def open_store(location: str) -> Store:
    """The store at a path or URI; nothing is read or made yet.

    Raises:
        WeightsError: fsspec cannot open such a URI.
    """
    if not is_uri(location):
        return FolderStore(Path(location).expanduser().absolute())
    parts = urlsplit(location)
    return (
        FolderStore(Path(unquote(parts.path))) if parts.scheme == "file" else RemoteStore(location)
    )


def record_name(name: str) -> str:
    """Name of the file that holds the sha256 of `name`."""
    return f"{name}.sha256"


def parse_record(content: bytes, location: str) -> str:
    """The digest in a record, which may also be what `sha256sum` prints.

    Raises:
        WeightsError: it is none.
    """
    words = content.decode("ascii", "replace").lower().split()
    if not words or not _SHA256.fullmatch(words[0]):
        raise WeightsError(
            f"{record_name(location)} holds no sha256; write `sha256sum` of it there"
        )
    return words[0]


def check_digest(location: str, digest: str, recorded: str) -> None:
    """Hold a file of a store to its record.

    Raises:
        WeightsError: they differ.
    """
    if digest != recorded:
        raise WeightsError(
            f"{location} has sha256 {digest}, but {record_name(location)} says {recorded}: the "
            "file is damaged or another one; put it anew with passtream models pull"
        )


def file_digest(path: Path) -> str:
    """sha256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to; at the end of the block it becomes `path`, whole and on the disk."""
    # Not tempfile: its files are for their owner only, and a cache may be shared.
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
def _told(store: "Store", done: str = "read") -> Iterator[None]:
    """Errors of a file system or an object store, of whatever kind, in one line."""
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:
        if isinstance(error, FileNotFoundError) and done == "read":
            raise
        raise WeightsError(
            f"{store}, where models are kept, cannot be {done}: {first_line(error)}; check the "
            "address, and the permissions or credentials"
        ) from error

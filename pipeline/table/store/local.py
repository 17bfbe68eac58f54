"""A table in a local folder, written so that a kill at any moment leaves whole files.

Data files are written to a temporary file and renamed once they are on the disk. Records that
decide something (the spec, the commits) are created exclusively. One run at a time writes to a
table: it holds a lock that the operating system releases when the process dies.

A table may come from a stranger, so links among its own entries are never followed, neither of
folders nor of files. The table's folder itself may be a link.
"""

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from pipeline.errors import StoreError, UsageError
from pipeline.table.store.base import ignore
from pipeline.table.store.hold import Hold
from pipeline.table.store.local_lock import LOCK_NAME, Lock
from pipeline.table.store.process_id import Process
from pipeline.table_layout import TEMP_DIR, is_temp_name


class LocalStore:
    """The files of one table below a folder; names are relative, with `/`.

    Args:
        root: The folder; `create` makes it.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).absolute()

    @property
    def location(self) -> str:
        """Absolute path of the folder."""
        return str(self.root)

    @property
    def has_conditional_put(self) -> bool:
        """True, because a hard link is refused where a file exists."""
        return True

    def notes(self) -> list[str]:
        """Return no notes."""
        return []

    def path(self, name: str) -> Path:
        """Return the local path of a file of the table.

        Raises:
            UsageError: A folder of the table on the way to the file is a link.
        """
        folder = str(self.root)
        for part in name.split("/")[:-1]:
            folder = f"{folder}/{part}"
            if os.path.islink(folder):
                raise UsageError(self._refusal(folder))
        return self.root / name

    def _refusal(self, path: str) -> str:
        target = ascii(os.readlink(path))[1:-1]
        return (
            f"table {self.root}: {os.path.relpath(path, self.root)} is a link (to {target}), and a "
            "table's own files and folders must not be links; put the real one there (TABLE itself "
            "may be a link)"
        )

    def locate(self, name: str) -> str:
        """Return the local path of a file of the table, for messages."""
        return str(self.root / name)

    def create(self, folders: tuple[str, ...]) -> None:
        """Create the table's folders; an existing table stays as it is.

        Raises:
            UsageError: The location cannot be written to, or a file is in the way.
        """
        try:
            for folder in (*folders, TEMP_DIR):
                self.path(f"{folder}/file").parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"table {self.root}: cannot be made: {error.strerror}") from error

    def entries(self) -> list[str]:
        """Return the names of the folder's entries; empty for a missing folder.

        Raises:
            UsageError: The location is a file, or cannot be listed.
        """
        try:
            return sorted(os.listdir(self.root))
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            if self.root.exists():
                raise UsageError(
                    f"table {self.root}: is a file; name a new or empty folder"
                ) from None
            return []
        except OSError as error:
            raise UsageError(f"table {self.root}: cannot be listed: {error.strerror}") from error

    def names(self, folder: str) -> dict[str, int]:
        """Return the files of a folder with their sizes in bytes; empty for a missing folder."""
        found: dict[str, int] = {}
        try:
            with os.scandir(self.path(f"{folder}/file").parent) as entries:
                for entry in entries:
                    # Another process may delete a file at any moment.
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(status.st_mode):
                            found[entry.name] = status.st_size
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StoreError(f"{self.root / folder} cannot be listed: {error.strerror}") from error
        return found

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes; None for a missing file."""
        try:
            status = self.path(name).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def open(self, name: str) -> pa.NativeFile:
        """Open a file for reading; raise OSError where that fails."""
        path = self.path(name)
        if path.is_symlink():
            raise UsageError(self._refusal(str(path)))
        return pa.OSFile(str(path))

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None for a missing file.

        Raises:
            UsageError: The name is a link, or not a file.
        """
        path = self.path(name)
        try:
            # O_NONBLOCK, because opening a named pipe would wait for a writer.
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            if path.is_symlink():
                raise UsageError(self._refusal(str(path))) from None
            raise
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise UsageError(f"{path}: is not a file; a table has a file of this name")
            return file.read()

    def read_many(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield names with their contents, in order."""
        return ((name, self.read(name)) for name in names)

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """Open a path for writing; at the end of the block it replaces `name`, whole and durable.

        Raises:
            StoreError: The disk refused, for example because it is full; `name` is as it was.
        """
        temp = self._temp(name)
        try:
            yield temp
            _sync(temp)
            os.replace(temp, self.path(name))
            _sync(self.path(name).parent)
        except OSError as error:
            raise StoreError(f"{self.path(name)} cannot be written: {error}") from error
        finally:
            temp.unlink(missing_ok=True)

    def put_if_absent(self, name: str, content: bytes) -> bool:
        """Create a file; return False, without a change, if it exists."""
        temp = self._temp(name)
        try:
            temp.write_bytes(content)
            _sync(temp)
            # A hard link is the one call that creates a file whole and refuses an old one.
            os.link(temp, self.path(name))
            _sync(self.path(name).parent)
        except FileExistsError:
            return False
        except OSError as error:
            raise StoreError(f"{self.path(name)} cannot be created: {error}") from error
        finally:
            temp.unlink(missing_ok=True)
        return True

    def delete(self, name: str) -> None:
        """Delete a file, if it exists; of a link only the link itself."""
        self.path(name).unlink(missing_ok=True)

    def _temp(self, name: str) -> Path:
        prefix = name.replace("/", "_") + "."
        try:
            # Copies through object stores or git lose empty folders. The parents are not created,
            # so a table that was deleted during a run stays deleted.
            for folder in (self.path(f"{TEMP_DIR}/file").parent, self.path(name).parent):
                folder.mkdir(exist_ok=True)
            handle, temp = tempfile.mkstemp(prefix=prefix, dir=self.path(TEMP_DIR))
        except OSError as error:
            raise StoreError(f"{self.path(name)} cannot be created: {error}") from error
        os.close(handle)
        os.chmod(temp, 0o666 & ~_umask())
        return Path(temp)

    @contextlib.contextmanager
    def lock(
        self, say: Callable[[str], None] = ignore, on_lost: Callable[[], None] = ignore
    ) -> Iterator[Hold]:
        """Hold the table for writing; also delete the half-written files of a killed run.

        Args:
            say: Not called, because this store never waits.
            on_lost: Not called, because the lock lasts as long as the process.

        Raises:
            UsageError: Another run holds it; the message says which.
            StoreError: The disk refused.
        """
        with Lock(str(self.root), self.path(LOCK_NAME)).held() as hold:
            for leftover in filter(is_temp_name, self.names(TEMP_DIR)):
                self.delete(f"{TEMP_DIR}/{leftover}")
            yield hold

    def taken_by(self, hold: Hold) -> str | None:
        """Return who has the table in place of a hold, by the lock's file."""
        return Lock(str(self.root), self.path(LOCK_NAME)).taken_by(hold)

    def writer(self) -> Process | None:
        """Return the process that holds the table; None without one, or without permission."""
        return Lock(str(self.root), self.path(LOCK_NAME)).holder()


def _umask() -> int:
    # os.umask would have to set the mask to read it, which is not safe among threads.
    with contextlib.suppress(OSError), open("/proc/self/status") as status:
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o022


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

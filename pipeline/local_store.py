"""A table in a local folder, written so that a kill at any moment leaves whole files.

Data files are written beside their place and renamed into it once they are on the disk; records
that decide something (the spec, the commits) are created exclusively. One run at a time writes to
a table: it holds a lock that the system drops when the process dies, however it dies.
"""

import contextlib
import fcntl
import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TextIO

import pyarrow as pa

from pipeline.errors import StoreError, UsageError
from pipeline.processes import Process
from pipeline.store import META_DIR, TEMP_DIR, ignore

LOCK_NAME = f"{META_DIR}/lock"
LOOKING_S = 0.1
"""How long whoever only asks who has the lock may keep it, and much longer than that takes."""


class LocalStore:
    """Files of one table below a folder; names are relative, with `/`.

    Args:
        root: the folder; made by `create`.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).absolute()

    @property
    def location(self) -> str:
        """The folder's absolute path."""
        return str(self.root)

    @property
    def has_conditional_put(self) -> bool:
        """True: a hard link is refused where there is a file."""
        return True

    def notes(self) -> list[str]:
        """None."""
        return []

    def path(self, name: str) -> Path:
        """Local path of a file of the table."""
        return self.root / name

    def locate(self, name: str) -> str:
        """Local path of a file of the table, for messages."""
        return str(self.path(name))

    def create(self, folders: tuple[str, ...]) -> None:
        """Make the table's folders; a table that is there stays as it is.

        Raises:
            UsageError: the place cannot be written to, or a file is in the way.
        """
        try:
            for folder in (*folders, TEMP_DIR):
                self.path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"table {self.root}: cannot be made: {error.strerror}") from error

    def entries(self) -> list[str]:
        """Names of what lies in the folder; empty where there is none.

        Raises:
            UsageError: it is a file, or cannot be listed.
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
        """Files of a folder and their sizes in bytes; empty where there is no such folder."""
        try:
            with os.scandir(self.path(folder)) as entries:
                return {e.name: e.stat().st_size for e in entries if e.is_file()}
        except FileNotFoundError:
            return {}

    def size(self, name: str) -> int | None:
        """Size of a file in bytes, None where it is not there."""
        try:
            return self.path(name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def open(self, name: str) -> pa.NativeFile:
        """A file for reading; OSError where it cannot be."""
        return pa.OSFile(str(self.path(name)))

    def read(self, name: str) -> bytes | None:
        """Content of a file, None where it is not there."""
        try:
            return self.path(name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_many(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Names with their contents, in order."""
        return ((name, self.read(name)) for name in names)

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """A path to write to; at the end of the block it becomes `name`, whole and durable.

        Raises:
            StoreError: the disk refused (full, say); `name` is as it was.
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
        """Create a file with this content; False, and no change, where it is already there."""
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
        """Remove a file, if it is there."""
        self.path(name).unlink(missing_ok=True)

    def _temp(self, name: str) -> Path:
        prefix = name.replace("/", "_") + "."
        try:
            handle, temp = tempfile.mkstemp(prefix=prefix, dir=self.path(TEMP_DIR))
        except OSError as error:
            raise StoreError(f"{self.path(name)} cannot be created: {error}") from error
        os.close(handle)
        os.chmod(temp, 0o666 & ~_umask())
        return Path(temp)

    @contextlib.contextmanager
    def lock(
        self, say: Callable[[str], None] = ignore, on_lost: Callable[[], None] = ignore
    ) -> Iterator[None]:
        """Hold the table for writing; also clears what a killed run left half-written.

        Args:
            say: not called: nothing is waited for.
            on_lost: not called: the lock lasts as long as the process.

        Raises:
            UsageError: another run holds it; the message says which.
            StoreError: the disk refused.
        """
        try:
            file = open(self.path(LOCK_NAME), "a+")  # noqa: SIM115 (closed below)
        except OSError as error:
            raise UsageError(f"table {self.root}: cannot be written: {error.strerror}") from error
        with file:
            if not _locked(file):
                file.seek(0)
                raise UsageError(
                    f"table {self.root}: another run is writing to it ({file.read().strip()}); "
                    "wait for it, or stop it and run again"
                )
            file.truncate(0)
            holder = json.dumps({"host": socket.gethostname(), "pid": os.getpid()})
            try:
                os.write(file.fileno(), holder.encode())  # what is buffered would fail once more
            except OSError as error:
                raise StoreError(f"{self.path(LOCK_NAME)} cannot be written: {error}") from error
            for leftover in self.names(TEMP_DIR):
                self.delete(f"{TEMP_DIR}/{leftover}")
            yield

    def writer(self) -> Process | None:
        """Who holds the table for writing; None where nobody does, or nobody may look."""
        try:
            with open(self.path(LOCK_NAME)) as file:
                # Shared, so that many may look at once; for `lock`, which asks again, a moment.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._lock_content()
        except OSError:
            pass
        return None

    def _lock_content(self) -> Process:
        # It is empty for a moment when the lock has just been taken.
        with contextlib.suppress(ValueError, TypeError, KeyError):
            holder = json.loads(self.read(LOCK_NAME) or b"")
            return Process(str(holder["host"]), int(holder["pid"]), "")
        return Process("unknown", 0, "")


def _locked(file: TextIO) -> bool:
    """Whether this process has a file's lock now; False where another keeps it."""
    deadline = time.monotonic() + LOOKING_S
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOKING_S / 10)


def _umask() -> int:
    # Linux tells the mask of a process without setting it, which is not safe among threads.
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

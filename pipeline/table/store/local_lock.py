"""The lock of a local table: a file that the operating system unlocks when its holder dies.

The file's content is for people, and for processes that check a hold: host and process of the
holder, and the number and token of its hold. A run can still lose its lock, if the file is deleted
or replaced, or a network folder drops its locks. It then finds another token in the file.
"""

import contextlib
import fcntl
import json
import os
import socket
import stat
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import StoreError, UsageError
from pipeline.table.store.hold import Hold
from pipeline.table.store.process_id import Process
from pipeline.table_layout import META_DIR

LOCK_NAME = f"{META_DIR}/lock"
LOOKING_S = 0.1
"""Seconds for which a process that only reads the lock may keep it; reading takes far less."""
_BEGIN = b'{"host"'
_MOST_BYTES = 4096


@dataclass(frozen=True)
class Lock:
    """The lock of a table.

    Attributes:
        table: Location of the table, for messages.
        path: Path of the lock's file.
    """

    table: str
    path: Path

    @contextlib.contextmanager
    def held(self) -> Iterator[Hold]:
        """Hold the lock within the block.

        Raises:
            UsageError: Another run holds it, or the file is not a lock.
            StoreError: The disk refused.
        """
        handle = self._open()
        try:
            if not self._is_locked(handle):
                content = _parsed(os.pread(handle, _MOST_BYTES, 0))
                raise UsageError(
                    f"table {self.table}: another run is writing to it ({_process(content)}); "
                    "wait for it, or stop it and run again"
                )
            before = os.pread(handle, _MOST_BYTES, 0)
            if before.strip() and not before.startswith(_BEGIN):
                raise UsageError(
                    f"{self.path}: holds something else than a lock, which is not overwritten; "
                    "if it is not needed, delete it"
                )
            # From the clock as well, so that the number grows even if the file was deleted. In
            # milliseconds, because the next run may begin within the same second.
            number = max(_number(_parsed(before)) + 1, time.time_ns() // 1_000_000)
            hold = Hold(number, uuid.uuid4().hex)
            try:
                self._write(handle, hold)
            except OSError as error:
                raise StoreError(f"{self.path} cannot be written: {error}") from error
            try:
                yield hold
            finally:
                with contextlib.suppress(OSError):
                    if _parsed(os.pread(handle, _MOST_BYTES, 0)).get("token") == hold.token:
                        self._write(handle, Hold(hold.number, ""))
        finally:
            os.close(handle)

    def taken_by(self, hold: Hold) -> str | None:
        """Return who has the table in place of a hold, for messages; None while the hold counts.

        Args:
            hold: Hold that is checked.
        """
        content = self._content()
        if content is None or content.get("token") == hold.token:
            return None
        return str(_process(content))

    def holder(self) -> Process | None:
        """Return the process that has the lock; None without one, or without permission."""
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            # Shared, so that several processes may read at once; `held` tries again meanwhile.
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            # The file is empty for a moment when the lock has just been taken.
            return _process(_parsed(os.pread(handle, _MOST_BYTES, 0)))
        except OSError:
            pass
        finally:
            os.close(handle)
        return None

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            handle = os.open(self.path, flags, 0o666)
        except OSError as error:
            what = "is a link" if self.path.is_symlink() else error.strerror
            raise UsageError(
                f"table {self.table}: cannot be written: {META_DIR}/{self.path.name}: {what}"
            ) from error
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise UsageError(f"{self.path}: is not a file, so it cannot be a lock; delete it")
        return handle

    def _is_locked(self, handle: int) -> bool:
        """Try to lock the file; return False if another process keeps the lock."""
        deadline = time.monotonic() + LOOKING_S
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOKING_S / 10)

    def _content(self) -> dict[str, Any] | None:
        """Return the content of the file; None for a missing file."""
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read: {error}") from error
        try:
            return _parsed(os.pread(handle, _MOST_BYTES, 0))
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read: {error}") from error
        finally:
            os.close(handle)

    def _write(self, handle: int, hold: Hold) -> None:
        content = {"host": socket.gethostname(), "pid": os.getpid()}
        content |= {"number": hold.number, "token": hold.token}
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, json.dumps(content).encode())


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _number(content: dict[str, Any]) -> int:
    number = content.get("number")
    return number if isinstance(number, int) else 0


def _process(content: dict[str, Any]) -> Process:
    try:
        return Process(str(content["host"]), int(content["pid"]), "")
    except (ValueError, TypeError, KeyError):
        return Process("unknown", 0, "")

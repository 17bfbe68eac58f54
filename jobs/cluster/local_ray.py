"""A Ray of a run's own on this machine: where its files lie, and how large its object store is.

Ray takes the folder for its sockets from TMPDIR, writes a token below HOME and wants its object
store in shared memory. Where one of these cannot be used, a run takes another one and says so.
"""

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ray._common.utils import get_default_system_temp_dir, get_system_memory
from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

from pipeline.errors import UsageError

STORE_BYTES_PER_ACTOR = 256 << 20
STORE_BYTES_PER_CPU = 40 << 20
"""What a decoder has under way: as many packets as it may be ahead, and one."""
_LEAST_STORE_BYTES = 80 << 20
"""Ray refuses a store below 75 MiB."""
_LEAST_SHARED_BYTES = 160 << 20
"""With less shared memory than that, the store is a file on disk, as Ray does it by itself."""
_MOST_DISK_BYTES = 4 << 30
_MEMORY_SHARE = 0.3
_SHARED_SHARE = 0.9
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 (looked at, not written)
_SOCKET_BYTES = 107
"""Longest path that a Unix socket can have."""
_SESSION_BYTES = len("/session_2026-11-27_23-30-00_123456_4194304/sockets/plasma_store.12")
_SHORT_FOLDERS = ("/tmp", "/var/tmp", "/run/user/{uid}", _SHARED_MEMORY)  # noqa: S108
_TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


class LocalRay:
    """The settings of a Ray that a run starts for itself.

    Args:
        n_actors: Actors that it is to hold.
        tell: Function that takes a line about what is not as Ray wants it.
    """

    def __init__(self, n_actors: int, tell: Callable[[str], None]) -> None:
        self._n_actors = n_actors
        self._tell = tell

    @contextlib.contextmanager
    def settings(self) -> Iterator[dict[str, Any]]:
        """Arguments of `ray.init`; the folder and the token that they need exist within the block.

        Raises:
            UsageError: This machine has no folder, or not the space, for it.
        """
        with self._folder() as folders, _token():
            disk = folders.get("_temp_dir", _default_folder())
            yield {
                "include_dashboard": False,
                "object_store_memory": self._store_bytes(disk),
                **folders,
            }

    @contextlib.contextmanager
    def _folder(self) -> Iterator[dict[str, str]]:
        """Yield the settings for Ray's files: none where its own choice will do."""
        default = _default_folder()
        length = len(os.fsencode(f"{default}/ray")) + _SESSION_BYTES
        if _is_writable(default) and length <= _SOCKET_BYTES:
            yield {}
            return
        name = "RAY_TMPDIR" if "RAY_TMPDIR" in os.environ else "TMPDIR"
        reason = (
            f"makes paths of {length} bytes for Ray's sockets, which may have {_SOCKET_BYTES}"
            if _is_writable(default)
            else "cannot be written to"
        )
        folder = _short_folder()
        if folder is None:
            raise UsageError(
                f"{name}={default!r} {reason}, and none of {', '.join(_candidates())} can be "
                "written to; set RAY_TMPDIR to a folder with a short path"
            )
        self._tell(f"{name}={default!r} {reason}; Ray's sockets and logs are in {folder}")
        try:
            # What does not fit into the store goes where the large files are wanted.
            spill = {"object_spilling_directory": default} if _is_writable(default) else {}
            yield {"_temp_dir": folder, **spill}
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _store_bytes(self, disk: str) -> int:
        """Return the size of the object store, as much as is wanted and there is.

        Raises:
            UsageError: There is too little of everything.
        """
        wanted = (
            self._n_actors * STORE_BYTES_PER_ACTOR + (os.cpu_count() or 1) * STORE_BYTES_PER_CPU
        )
        memory = int(get_system_memory() * _MEMORY_SHARE)
        size = min(wanted, max(memory, _LEAST_STORE_BYTES))
        shared = int(_free_bytes(_SHARED_MEMORY) * _SHARED_SHARE)
        place = ""
        if shared < size and shared >= _LEAST_SHARED_BYTES:
            size, place = shared, f"{_SHARED_MEMORY} has no room for more (docker: --shm-size)"
        elif shared < size:
            on_disk = int(min(_free_bytes(disk) * 0.5, _MOST_DISK_BYTES))
            if on_disk < _LEAST_STORE_BYTES:
                raise UsageError(
                    f"Ray's object store wants {_mib(_LEAST_STORE_BYTES)} at least, and "
                    f"{_SHARED_MEMORY} has {_mib(_free_bytes(_SHARED_MEMORY))} free, {disk} "
                    f"{_mib(_free_bytes(disk))}; give the container a larger --shm-size, set "
                    "TMPDIR to a disk with room, or use --in-process, which needs no Ray"
                )
            size = min(size, on_disk)
            place = f"it is a file in {disk}, as {_SHARED_MEMORY} is too small (docker: --shm-size)"
        elif size < wanted:
            place = "this machine has little memory"
        if place:
            self._tell(f"Ray's object store has {_mib(size)} of {_mib(wanted)}: {place}")
        return size


@contextlib.contextmanager
def _token() -> Iterator[None]:
    """Give the cluster a token of its own where there is none, so that Ray writes none to HOME."""
    mode = os.environ.get("RAY_AUTH_MODE", "token").lower()
    if mode != "token" or any(name in os.environ for name in _TOKEN_VARIABLES) or _has_token():
        yield
        return
    loader = AuthenticationTokenLoader.instance()
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    loader.reset_cache()
    try:
        yield
    finally:
        del os.environ["RAY_AUTH_TOKEN"]
        loader.reset_cache()


def _has_token() -> bool:
    try:
        return bool((Path.home() / ".ray" / "auth_token").read_text().strip())
    except (OSError, RuntimeError, ValueError):  # there is none, or no home folder
        return False


def _default_folder() -> str:
    return str(get_default_system_temp_dir())  # type: ignore[no-untyped-call]


def _candidates() -> list[str]:
    return [each.format(uid=os.getuid()) for each in _SHORT_FOLDERS]


def _short_folder() -> str | None:
    for parent in _candidates():
        with contextlib.suppress(OSError):
            return tempfile.mkdtemp(prefix="passtream-", dir=parent)
    return None


def _is_writable(folder: str) -> bool:
    """Whether files can be made in a folder, or the folder where it is not there yet."""
    with contextlib.suppress(OSError):
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    return False


def _free_bytes(folder: str) -> int:
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def _mib(n_bytes: int) -> str:
    return f"{n_bytes >> 20:,} MiB"

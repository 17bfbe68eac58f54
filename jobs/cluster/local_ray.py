"""Settings for a Ray that the run starts on this machine: its folder, token and object store.

By default Ray puts its sockets below TMPDIR, writes a token below HOME and keeps its object store
in shared memory. If one of these cannot be used, the run chooses an alternative. It warns about a
replaced folder or a smaller store.
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
"""Size of the packets of a decoder in flight, in bytes: its backpressure limit and one more."""
_MIN_STORE_BYTES = 80 << 20
"""Smallest object store, in bytes; Ray refuses less than 75 MiB."""
_MIN_SHARED_BYTES = 160 << 20
"""Least free shared memory in bytes for a store there; with less, the store is a file on disk."""
_MAX_DISK_BYTES = 4 << 30
_MEMORY_SHARE = 0.3
"""Largest share of the machine's memory that the store may take."""
_SHARED_SHARE = 0.9
"""Share of the free shared memory that the store may take."""
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 (only its free space is read)
_SOCKET_BYTES = 107
"""Longest path of a Unix socket, in bytes."""
_SESSION_BYTES = len("/session_2026-11-27_23-30-00_123456_4194304/sockets/plasma_store.12")
_SHORT_FOLDERS = ("/tmp", "/var/tmp", "/run/user/{uid}", _SHARED_MEMORY)  # noqa: S108
_TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


class LocalRay:
    """The settings of a Ray that a run starts for itself on this machine.

    Args:
        n_actors: Number of actors that the object store must have room for.
        warn: Function that receives a line if this machine does not meet Ray's requirements.
    """

    def __init__(self, n_actors: int, warn: Callable[[str], None]) -> None:
        self._n_actors = n_actors
        self._warn = warn

    @contextlib.contextmanager
    def settings(self) -> Iterator[dict[str, Any]]:
        """Open the folder and token that Ray needs, for the duration of the block.

        Yields:
            Arguments of `ray.init`.

        Raises:
            UsageError: This machine has no suitable folder, or too little space, for Ray.
        """
        with self._folder() as folders, _auth_token():
            disk = folders.get("_temp_dir", _default_folder())
            yield {
                "include_dashboard": False,
                "object_store_memory": self._store_bytes(disk),
                **folders,
            }

    @contextlib.contextmanager
    def _folder(self) -> Iterator[dict[str, str]]:
        """Yield the settings for Ray's files; none if Ray's default folder is usable."""
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
        self._warn(f"{name}={default!r} {reason}; Ray's sockets and logs are in {folder}")
        try:
            # Objects that do not fit into the store are large, so they go to the default folder.
            spill = {"object_spilling_directory": default} if _is_writable(default) else {}
            yield {"_temp_dir": folder, **spill}
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _store_bytes(self, disk: str) -> int:
        """Return the size of the object store in bytes, limited by memory and free space.

        Args:
            disk: Folder in which Ray creates the store if shared memory is too small.

        Raises:
            UsageError: Shared memory and disk both have too little space.
        """
        wanted = (
            self._n_actors * STORE_BYTES_PER_ACTOR + (os.cpu_count() or 1) * STORE_BYTES_PER_CPU
        )
        memory = int(get_system_memory() * _MEMORY_SHARE)
        size = min(wanted, max(memory, _MIN_STORE_BYTES))
        shared = int(_free_bytes(_SHARED_MEMORY) * _SHARED_SHARE)
        reason = ""
        if shared < size and shared >= _MIN_SHARED_BYTES:
            size, reason = shared, f"{_SHARED_MEMORY} has no room for more (docker: --shm-size)"
        elif shared < size:
            on_disk = int(min(_free_bytes(disk) * 0.5, _MAX_DISK_BYTES))
            if on_disk < _MIN_STORE_BYTES:
                raise UsageError(
                    f"Ray's object store needs at least {_mib(_MIN_STORE_BYTES)}, and "
                    f"{_SHARED_MEMORY} has {_mib(_free_bytes(_SHARED_MEMORY))} free, {disk} "
                    f"{_mib(_free_bytes(disk))}; give the container a larger --shm-size, set "
                    "TMPDIR to a disk with room, or use --in-process, which needs no Ray"
                )
            size = min(size, on_disk)
            reason = (
                f"it is a file in {disk}, as {_SHARED_MEMORY} is too small (docker: --shm-size)"
            )
        elif size < wanted:
            reason = "this machine has little memory"
        if reason:
            self._warn(f"Ray's object store has {_mib(size)} of {_mib(wanted)}: {reason}")
        return size


@contextlib.contextmanager
def _auth_token() -> Iterator[None]:
    """Set a token for the cluster if there is none, so that Ray does not write one to HOME."""
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
    except (OSError, RuntimeError, ValueError):  # the file or the home folder does not exist
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
    """Return whether files can be created in a folder, after creating it if it is missing."""
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

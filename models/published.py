"""The published checkpoints: found in the cache, else downloaded once and held to their digest.

Nobody publishes digests for these files, so the sha256 of the first use is written beside the file
and every later load must match it. A file that a person puts into the cache by hand counts as a
first use.
"""

import contextlib
import hashlib
import os
import urllib.request
import uuid
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

from models.archs import ArchSpec
from models.errors import WeightsError, WeightsUnavailableError

CONNECT_TIMEOUT_S = 20.0
_CHUNK_BYTES = 1 << 20


def cache_dir() -> Path:
    """The folder for downloads: `PASSTREAM_CACHE`, else `~/.cache/passtream`."""
    configured = os.environ.get("PASSTREAM_CACHE")
    return Path(configured) if configured else Path.home() / ".cache" / "passtream"


def cached_path(spec: ArchSpec) -> Path:
    """Where the arch's published checkpoint lies in the cache, or is to be put."""
    return cache_dir() / "checkpoints" / Path(spec.checkpoint).name


def fetch_published(
    spec: ArchSpec, on_progress: Callable[[int, int | None], None] | None = None
) -> Path:
    """Path of the arch's checkpoint, downloaded if it is not in the cache yet.

    Args:
        spec: the arch.
        on_progress: called with bytes done and bytes in all (None where unknown).

    Raises:
        WeightsUnavailableError: not cached, and the host cannot be reached.
        WeightsError: the cached file no longer has the digest recorded at its first use.
    """
    path = cached_path(spec)
    if not path.exists():
        _download(spec, path, on_progress)
    record = path.with_name(path.name + ".sha256")
    digest = _file_digest(path)
    if not record.exists():
        _write_atomically(record, digest + "\n")
    recorded = record.read_text().strip()
    if recorded != digest:
        raise WeightsError(
            f"{path} has sha256 {digest}, but {recorded} was recorded at its first use: the file "
            f"changed. Delete it to download it again, or delete {record.name} to accept it"
        )
    return path


def _download(
    spec: ArchSpec, path: Path, on_progress: Callable[[int, int | None], None] | None
) -> None:
    partial = _partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            urllib.request.urlopen(spec.url, timeout=CONNECT_TIMEOUT_S) as response,  # noqa: S310
            partial.open("xb") as file,
        ):
            length = response.headers.get("Content-Length")
            total = int(length) if length else None
            done = 0
            while chunk := response.read(_CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                if on_progress:
                    on_progress(done, total)
            file.flush()
            os.fsync(file.fileno())
        if total is not None and done != total:
            raise OSError(f"the connection ended after {done} of {total} bytes")
        partial.replace(path)
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()  # it is the response as well, and holds its socket
        reason = getattr(error, "reason", None) or error
        raise WeightsUnavailableError(
            f"the weights of {spec.name} are not in the cache and {spec.url} cannot be downloaded "
            f"({reason}): put that file at {path}, or name a state dict with --weights"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_atomically(path: Path, text: str) -> None:
    partial = _partial(path)
    partial.write_text(text)
    partial.replace(path)


def _partial(path: Path) -> Path:
    # Not tempfile: its files are for their owner only, and a cache may be shared.
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")

"""Access to the published checkpoints, through a model store or the local cache.

Without a model store, a checkpoint is downloaded to the cache once. No digests are published for
these files, so the sha256 at the first use is recorded in the cache, and every later load must
match it. A file that a user copies into the cache is recorded at its first use in the same way.

If `PASSTREAM_MODELS` names a model store, only its files and recorded digests count, and nothing is
downloaded from the internet.
"""

import os
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Literal
from urllib.error import HTTPError

from models.archs import ARCHS, ArchSpec
from models.checkpoints.model_store import (
    CHUNK_BYTES,
    FolderStore,
    OnProgress,
    Store,
    check_digest,
    file_digest,
    open_store,
    record_name,
    replacing,
)
from models.errors import WeightsError, WeightsUnavailableError

CONNECT_TIMEOUT_S = 20.0
_RANDOM_WEIGHTS_HINT = "for a trial, use random weights: --weights random:0"


@dataclass(frozen=True, slots=True)
class CheckpointLocation:
    """Location of an arch's checkpoint, and whether it is available there.

    Attributes:
        state: `store` or `cached` if the checkpoint is available there, otherwise `absent`.
        location: Path or URI of the file, or where it would be if it is absent.
        sha256: Recorded sha256 of the file; None if there is no record.
    """

    state: Literal["store", "cached", "absent"]
    location: str
    sha256: str | None


def cache_dir() -> Path:
    """Return the cache folder: `PASSTREAM_CACHE`, or `~/.cache/passtream` if that is not set."""
    configured = os.environ.get("PASSTREAM_CACHE")
    return Path(configured) if configured else Path.home() / ".cache" / "passtream"


def cached_path(spec: ArchSpec) -> Path:
    """Return the path of the arch's checkpoint in the cache, whether or not it is there."""
    return cache_dir() / "checkpoints" / spec.file_name


def model_store() -> Store | None:
    """Return the model store that `PASSTREAM_MODELS` names; None if it is not set."""
    configured = os.environ.get("PASSTREAM_MODELS")
    return open_store(configured) if configured else None


def fetch_published(spec: ArchSpec, on_progress: OnProgress | None = None) -> Path:
    """Return a local path of the arch's checkpoint, fetching it into the cache if necessary.

    Args:
        spec: Arch of the checkpoint.
        on_progress: Callback for the bytes downloaded.

    Raises:
        WeightsUnavailableError: The checkpoint is not in the model store. Without a model store:
            it is not cached and cannot be downloaded.
        WeightsError: The file does not match its recorded digest, or the store fails.
    """
    store = model_store()
    if store:
        return _fetch_from_store(spec, store, on_progress)
    return fetch_to_cache(spec, on_progress)


def source_of(spec: ArchSpec) -> str:
    """Return the checkpoint's location in the model store, or without a store its published URL."""
    store = model_store()
    return store.locate(spec.file_name) if store else spec.url


def locate_checkpoints() -> dict[str, CheckpointLocation]:
    """Find the checkpoint of each arch, by arch name, without reading the checkpoints themselves.

    Raises:
        WeightsError: The model store, or the cache if there is none, cannot be read.
    """
    store = model_store()
    searched = store or FolderStore(cache_dir() / "checkpoints")
    names = searched.names()
    found = {}
    for arch, spec in ARCHS.items():
        name = spec.file_name
        recorded = searched.recorded_digest(name) if record_name(name) in names else None
        # A store writes the record last, so a file without a record is incomplete.
        is_available = name in names and (store is None or recorded is not None)
        found[arch] = CheckpointLocation(
            "absent" if not is_available else "store" if store else "cached",
            searched.locate(name),
            recorded,
        )
    return found


def _fetch_from_store(spec: ArchSpec, store: Store, on_progress: OnProgress | None) -> Path:
    name = spec.file_name
    recorded = store.recorded_digest(name)
    if recorded is None:
        raise _not_in_store_error(store, spec, record_name(name))
    if isinstance(store, FolderStore):
        digest = store.digest(name)
        if digest is None:
            raise _not_in_store_error(store, spec, name)
        check_digest(store.locate(name), digest, recorded)
        return store.root / name
    path = cached_path(spec)
    if not path.exists() or file_digest(path) != recorded:
        try:
            store.fetch(name, recorded, path, on_progress)
        except FileNotFoundError:
            raise _not_in_store_error(store, spec, name) from None
    cache = FolderStore(path.parent)
    if cache.recorded_digest(name) != recorded:
        cache.record_digest(name, recorded)
    return path


def _not_in_store_error(store: Store, spec: ArchSpec, name: str) -> WeightsUnavailableError:
    return WeightsUnavailableError(
        f"the weights of {spec.name} are not in the model store {store} (no {name})",
        (
            _RANDOM_WEIGHTS_HINT,
            "or put them there, on a machine with internet access: "
            f"passtream models pull {spec.name} --to {store}",
        ),
    )


def fetch_to_cache(spec: ArchSpec, on_progress: OnProgress | None = None) -> Path:
    """Return the path of the arch's checkpoint in the cache, downloading it if necessary.

    Args:
        spec: Arch of the checkpoint.
        on_progress: Callback for the bytes downloaded.

    Raises:
        WeightsUnavailableError: The checkpoint is not cached and cannot be downloaded.
        WeightsError: The cached file does not match the digest recorded at its first use.
    """
    path = cached_path(spec)
    if not path.exists():
        _download(spec, path, on_progress)
    cache = FolderStore(path.parent)
    recorded, digest = cache.recorded_digest(path.name), file_digest(path)
    if recorded is None:
        cache.record_digest(path.name, digest)
    elif recorded != digest:
        raise WeightsError(
            f"{path} has sha256 {digest}, but {recorded} was recorded at its first use: the file "
            f"changed. Delete it to download it again, or delete {record_name(path.name)} to "
            "accept it"
        )
    return path


def _download(spec: ArchSpec, path: Path, on_progress: OnProgress | None) -> None:
    try:
        with (
            urllib.request.urlopen(spec.url, timeout=CONNECT_TIMEOUT_S) as response,  # noqa: S310
            replacing(path) as file,
        ):
            length = response.headers.get("Content-Length")
            total = int(length) if length else None
            done = 0
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                if on_progress:
                    on_progress(done, total)
            if total is not None and done != total:
                raise OSError(f"the connection ended after {done} of {total} bytes")
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()  # an HTTPError is also the response, and keeps its socket open
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, OSError) and reason.strerror and not reason.filename:
            reason = reason.strerror
        raise WeightsUnavailableError(
            f"the weights of {spec.name} are not cached and cannot be downloaded: {reason}",
            (
                _RANDOM_WEIGHTS_HINT,
                f"or download {spec.url} elsewhere, and put that file at {path}",
                "or set PASSTREAM_MODELS to a model store (a folder or URI), filled on a machine "
                f"with internet access: passtream models pull {spec.name} --to STORE",
                "or use a checkpoint file of your own: --weights FILE",
            ),
        ) from error

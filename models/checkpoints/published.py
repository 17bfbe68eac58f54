"""The published checkpoints: from the model store, or the cache, or downloaded to it once.

Nobody publishes digests for these files, so the sha256 of the first use is written beside the file
in the cache and every later load must match it. A file that a person puts into the cache by hand
counts as a first use. Where `PASSTREAM_MODELS` names a model store, its files and its digests
decide, and the internet is never asked.
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
_TRIAL = "for a trial, take random ones: --weights random:0"


@dataclass(frozen=True, slots=True)
class CheckpointLocation:
    """Where a checkpoint would be taken from.

    Attributes:
        state: `store`, `cached`, or `absent`, which is: to be downloaded.
        location: path or URI of the file; of where it would lie if it is absent.
        sha256: what is recorded for it; None where nothing is.
    """

    state: Literal["store", "cached", "absent"]
    location: str
    sha256: str | None


def cache_dir() -> Path:
    """The folder for downloads: `PASSTREAM_CACHE`, else `~/.cache/passtream`."""
    configured = os.environ.get("PASSTREAM_CACHE")
    return Path(configured) if configured else Path.home() / ".cache" / "passtream"


def cached_path(spec: ArchSpec) -> Path:
    """Where the arch's published checkpoint lies in the cache, or is to be put."""
    return cache_dir() / "checkpoints" / spec.file_name


def model_store() -> Store | None:
    """The store that `PASSTREAM_MODELS` names; None where it is not set."""
    configured = os.environ.get("PASSTREAM_MODELS")
    return open_store(configured) if configured else None


def fetch_published(spec: ArchSpec, on_progress: OnProgress | None = None) -> Path:
    """Local path of the arch's checkpoint, fetched into the cache if need be.

    Args:
        spec: the arch.
        on_progress: called with bytes done and bytes in all (None where unknown).

    Raises:
        WeightsUnavailableError: not in the model store; or without one: not cached, and the host
            cannot be reached.
        WeightsError: the file does not have the digest recorded for it, or the store fails.
    """
    store = model_store()
    return _from_store(spec, store, on_progress) if store else fetch_to_cache(spec, on_progress)


def source_of(spec: ArchSpec) -> str:
    """What `fetch_published` fetches: a URI in the model store, or the published URL."""
    store = model_store()
    return store.locate(spec.file_name) if store else spec.url


def locate_checkpoints() -> dict[str, CheckpointLocation]:
    """Where the checkpoint of each arch is; the files themselves are not read.

    Raises:
        WeightsError: the model store cannot be read.
    """
    store = model_store()
    place = store or FolderStore(cache_dir() / "checkpoints")
    names = place.names()
    found = {}
    for arch, spec in ARCHS.items():
        name = spec.file_name
        recorded = place.recorded(name) if record_name(name) in names else None
        # In a store the record is written last, so a file without one is not there yet.
        here = name in names and (store is None or recorded is not None)
        found[arch] = CheckpointLocation(
            "absent" if not here else "store" if store else "cached", place.locate(name), recorded
        )
    return found


def _from_store(spec: ArchSpec, store: Store, on_progress: OnProgress | None) -> Path:
    name = spec.file_name
    recorded = store.recorded(name)
    if recorded is None:
        raise _not_in(store, spec, record_name(name))
    if isinstance(store, FolderStore):
        digest = store.digest(name)
        if digest is None:
            raise _not_in(store, spec, name)
        check_digest(store.locate(name), digest, recorded)
        return store.root / name
    path = cached_path(spec)
    if not path.exists() or file_digest(path) != recorded:
        try:
            store.fetch(name, recorded, path, on_progress)
        except FileNotFoundError:
            raise _not_in(store, spec, name) from None
    cache = FolderStore(path.parent)
    if cache.recorded(name) != recorded:
        cache.record(name, recorded)
    return path


def _not_in(store: Store, spec: ArchSpec, name: str) -> WeightsUnavailableError:
    return WeightsUnavailableError(
        f"the weights of {spec.name} are not in the model store {store} (no {name})",
        (
            _TRIAL,
            f"or put them there: passtream models pull {spec.name} --to {store}, where the "
            "internet can be reached",
        ),
    )


def fetch_to_cache(spec: ArchSpec, on_progress: OnProgress | None = None) -> Path:
    """Path of the arch's checkpoint in the cache, downloaded if it is not there yet.

    Raises:
        WeightsUnavailableError: not cached, and the host cannot be reached.
        WeightsError: the cached file no longer has the digest recorded at its first use.
    """
    path = cached_path(spec)
    if not path.exists():
        _download(spec, path, on_progress)
    cache = FolderStore(path.parent)
    recorded, digest = cache.recorded(path.name), file_digest(path)
    if recorded is None:
        cache.record(path.name, digest)
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
            error.close()  # it is the response as well, and holds its socket
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, OSError) and reason.strerror and not reason.filename:
            reason = reason.strerror
        raise WeightsUnavailableError(
            f"the weights of {spec.name} are not here, and cannot be downloaded: {reason}",
            (
                _TRIAL,
                f"or download {spec.url} elsewhere, and put that file at {path}",
                "or set PASSTREAM_MODELS to a folder or URI that has it: passtream models pull "
                f"{spec.name} --to PLACE fills one, where the internet can be reached",
                "or name a file of your own: --weights FILE",
            ),
        ) from error

"""Download of a published checkpoint to the cache or to a model store.

A store is usually filled on a machine with internet access and read on machines without, where a
bad file could not be replaced. So a file is parsed and checked against its arch before it is put.
"""

import hashlib
from dataclasses import dataclass

from models.archs import ArchSpec
from models.checkpoints.model_store import OnProgress, Store, open_store, record_name
from models.checkpoints.published import fetch_published, fetch_to_cache
from models.checkpoints.state_dict import fit_state_dict, parse_state_dict
from models.errors import WeightsError


@dataclass(frozen=True, slots=True)
class PulledCheckpoint:
    """A checkpoint that is now in the cache or a model store.

    Attributes:
        arch: Name of the arch.
        location: Path or URI of the file.
        n_bytes: Size of the file in bytes.
        sha256: Digest of the file, hex.
    """

    arch: str
    location: str
    n_bytes: int
    sha256: str


def pull(
    spec: ArchSpec, to: str | None = None, on_progress: OnProgress | None = None
) -> PulledCheckpoint:
    """Fetch and check an arch's checkpoint, and put it where later runs find it.

    Args:
        spec: Arch of the checkpoint.
        to: Folder or URI of a model store to fill from the cache or a download. None fetches the
            checkpoint as a run would: from the store in `PASSTREAM_MODELS`, or into the cache.
        on_progress: Callback for the bytes downloaded.

    Raises:
        WeightsUnavailableError: The checkpoint is not available.
        WeightsError: The file is not the arch's state dict, the store fails, or the store already
            holds a different, intact file for this arch.
    """
    store = open_store(to) if to else None
    path = fetch_to_cache(spec, on_progress) if store else fetch_published(spec, on_progress)
    content = path.read_bytes()
    try:
        fit_state_dict(parse_state_dict(content, str(path)), spec, str(path))
    except WeightsError as error:
        raise WeightsError(
            f"{error}. Delete that file and {record_name(path.name)} to fetch it again"
        ) from error
    location, digest = str(path), hashlib.sha256(content).hexdigest()
    if store:
        location = store.locate(spec.file_name)
        _put_checkpoint(store, spec, content, digest)
    return PulledCheckpoint(spec.name, location, len(content), digest)


def _put_checkpoint(store: Store, spec: ArchSpec, content: bytes, digest: str) -> None:
    """Put a checkpoint into a store; keep an intact copy, and replace a damaged file.

    Raises:
        WeightsError: The store holds a different file that matches its own record.
    """
    name = spec.file_name
    recorded = store.recorded_digest(name)
    is_intact = recorded is not None and store.digest(name) == recorded
    if is_intact and recorded != digest:
        location = store.locate(name)
        raise WeightsError(
            f"{location} already exists with sha256 {recorded}, but the new file has {digest}; "
            f"delete {name} and {record_name(name)} there to replace it"
        )
    if not is_intact:
        store.put(name, content, digest)

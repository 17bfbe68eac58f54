"""A published checkpoint, checked to be its arch's, to the cache or to a model store.

A store is filled where the internet is and read where it is not, so nothing goes in that could not
be loaded: the file is parsed and fitted to the arch first.
"""

import hashlib
from dataclasses import dataclass

from models.archs import ArchSpec
from models.checkpoints.model_store import OnProgress, Store, open_store, record_name
from models.checkpoints.published import fetch_published, fetch_to_cache
from models.checkpoints.state_dict import fit_state_dict, parse_state_dict
from models.errors import WeightsError


@dataclass(frozen=True, slots=True)
class Pulled:
    """A checkpoint that is in its place now.

    Attributes:
        arch: its name.
        location: path or URI of the file.
        n_bytes: its size.
        sha256: of its content.
    """

    arch: str
    location: str
    n_bytes: int
    sha256: str


def pull(spec: ArchSpec, to: str | None = None, on_progress: OnProgress | None = None) -> Pulled:
    """Put an arch's checkpoint where later runs find it; what is there already stays.

    Args:
        spec: the arch.
        to: folder or URI of a model store, filled from the cache or a download; None for what a
            run would do first: fetch the file, from `PASSTREAM_MODELS` where that is set.
        on_progress: told of the bytes of a download.

    Raises:
        WeightsUnavailableError: the file is not to be had.
        WeightsError: it is not the arch's state dict, the store fails, or holds another file.
    """
    store = open_store(to) if to else None
    path = fetch_to_cache(spec, on_progress) if store else fetch_published(spec, on_progress)
    content = path.read_bytes()
    try:
        fit_state_dict(parse_state_dict(content, str(path)), spec, str(path))
    except WeightsError as error:
        raise WeightsError(
            f"{error}. Delete that file and {record_name(path.name)} to have it fetched again"
        ) from error
    location, digest = str(path), hashlib.sha256(content).hexdigest()
    if store:
        location = store.locate(spec.file_name)
        _put(store, spec, content, digest)
    return Pulled(spec.name, location, len(content), digest)


def _put(store: Store, spec: ArchSpec, content: bytes, digest: str) -> None:
    """Put the file, unless one with this digest or a whole other one is there."""
    name = spec.file_name
    recorded = store.recorded(name)
    whole = recorded is not None and store.digest(name) == recorded
    if whole and recorded != digest:
        location = store.locate(name)
        raise WeightsError(
            f"{location} is there with sha256 {recorded}, and the one to put there has {digest}; "
            f"delete {name} and {record_name(name)} there to replace it"
        )
    if not whole:
        store.put(name, content, digest)

"""Common Voice's tables: their paths are names of files in the folder `clips` beside them."""

import os

from pipeline.io.storage import Storage, is_remote
from pipeline.sources.manifests.manifest_rows import ManifestRows

_COLUMNS = {"client_id", "path"}
_CLIPS = "clips"


def base_folder(folder: str, uri_column: str, rows: ManifestRows, storage: Storage) -> str:
    """Return the folder at which the relative paths of a manifest begin.

    That is the folder of the manifest. Of Common Voice it is `clips` in it, unless the first
    recording lies beside the manifest.

    Args:
        folder: The folder of the manifest, a local path or a URI.
        uri_column: Name of the column of recordings.
        rows: The manifest.
        storage: How remote folders are reached.

    Raises:
        StoreError: A store does not answer.
    """
    if uri_column != "path" or not _COLUMNS.issubset(rows.columns):
        return folder
    first = next((name for _, (name,) in rows.of((uri_column,)) if isinstance(name, str)), "")
    if not first or "/" in first or "\0" in first or _is_there(f"{folder}/{first}", storage):
        return folder
    return f"{folder}/{_CLIPS}"


def _is_there(location: str, storage: Storage) -> bool:
    if not is_remote(location):
        return os.path.lexists(location)
    files = storage.filesystem(location)
    return bool(storage.retry(f"looking at {location}", lambda: files.exists(location)))

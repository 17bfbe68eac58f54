"""Finds the recordings of Common Voice's tables, which lie in the folder `clips` beside them."""

import os

from pipeline.io.protocols import is_remote
from pipeline.io.storage import Storage
from pipeline.sources.manifests.manifest_rows import ManifestRows

_COMMON_VOICE_COLUMNS = {"client_id", "path"}
_CLIPS = "clips"


def base_folder(folder: str, uri_column: str, rows: ManifestRows, storage: Storage) -> str:
    """Return the folder that the relative paths of a manifest begin at.

    This is the folder of the manifest. For a table of Common Voice it is the folder `clips` in it,
    unless the first recording lies beside the table.

    Args:
        folder: Folder of the manifest, a local path or a URI.
        uri_column: Name of the column that names recordings.
        rows: Rows of the manifest.
        storage: Access to remote folders.

    Raises:
        UsageError: A row cannot be read.
        StoreError: A store is unavailable.
    """
    if uri_column != "path" or not _COMMON_VOICE_COLUMNS.issubset(rows.columns):
        return folder
    first = next((name for _, (name,) in rows.read((uri_column,)) if isinstance(name, str)), "")
    if not first or "/" in first or "\0" in first or _exists(f"{folder}/{first}", storage):
        return folder
    return f"{folder}/{_CLIPS}"


def _exists(location: str, storage: Storage) -> bool:
    if not is_remote(location):
        return os.path.lexists(location)
    files = storage.filesystem(location)
    return bool(storage.retry(f"looking up {location}", lambda: files.exists(location)))

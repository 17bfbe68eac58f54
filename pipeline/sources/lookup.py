"""The versions of recordings that somebody else named: by their status, or by listings of folders.

A request for each of a million objects would take hours; where many lie in one folder of a store,
the folder is listed.
"""

from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from pipeline.clips import path_to_uri, uri_to_path
from pipeline.storage import Storage, is_uri, protocol_of
from pipeline.versions import MISSING, file_version, info_version

_LISTED_FROM = 20
"""Objects of one folder that are worth a listing, which tells of a thousand at a time."""
_N_THREADS = 16
_WITHOUT_LISTINGS = ("http", "https")
_NOT_THERE = (FileNotFoundError, PermissionError)


def located(location: str, folder: str) -> str:
    """The URI of a location as somebody wrote it.

    Args:
        location: an absolute path, a URI, or a path relative to `folder`.
        folder: a local folder or the URI of a remote one.
    """
    if protocol_of(location) == "file":
        return path_to_uri(uri_to_path(location))
    if is_uri(location):
        return location
    if is_uri(folder) and not location.startswith("/"):
        return _joined(folder, location)
    return path_to_uri(f"{folder}/{location}" if not location.startswith("/") else location)


def folder_of(uri: str) -> str:
    """The URI of the folder that a remote file lies in."""
    scheme, _, path = uri.partition("://")
    return f"{scheme}://{path.rpartition('/')[0]}"


def _joined(folder: str, location: str) -> str:
    scheme, _, path = folder.partition("://")
    parts = [part for part in path.split("/") if part]
    for part in location.split("/"):
        if part == "..":
            del parts[max(1, len(parts) - 1) :]  # the bucket, or the host, stays
        elif part not in ("", "."):
            parts.append(part)
    return f"{scheme}://{'/'.join(parts)}"


def versions_of(uris: Iterable[str], storage: Storage) -> dict[str, str]:
    """The version of each recording; `missing` for what is not there or may not be looked at.

    Args:
        uris: as `located` writes them.
        storage: how remote ones are reached.

    Raises:
        UsageError: a remote one cannot be reached at all.
        StoreError: a store is out of order.
    """
    versions = {}
    folders = defaultdict[str, list[str]](list)
    for uri in uris:
        if is_uri(uri) and protocol_of(uri) != "file":
            folders[folder_of(uri)].append(uri)
        else:
            versions[uri] = file_version(uri_to_path(uri))
    with ThreadPoolExecutor(_N_THREADS) as threads:
        for folder, ours in folders.items():
            known = _listed(folder, ours, storage)
            if known is None:
                asked = threads.map(partial(_version, storage=storage), ours)
                known = dict(zip(ours, asked, strict=True))
            versions.update(known)
    return versions


def _listed(folder: str, uris: list[str], storage: Storage) -> dict[str, str] | None:
    """Versions from one listing of their folder; None where each is better asked for."""
    files = storage.filesystem(folder)
    if len(uris) < _LISTED_FROM or protocol_of(folder) in _WITHOUT_LISTINGS:
        return None
    try:
        infos = storage.tried(f"listing {folder}", lambda: files.ls(folder, detail=True))
    except PermissionError:
        return None
    except FileNotFoundError:
        infos = []
    by_name = {info["name"]: info for info in infos}
    found = {uri: by_name.get(files._strip_protocol(uri)) for uri in uris}
    return {uri: info_version(info) if info else MISSING for uri, info in found.items()}


def _version(uri: str, storage: Storage) -> str:
    files = storage.filesystem(uri)
    try:
        return info_version(storage.tried(f"looking at {uri}", lambda: files.info(uri)))
    except _NOT_THERE:
        return MISSING

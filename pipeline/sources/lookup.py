"""The versions of recordings that somebody else named: by their status, or by listings of folders.

A request for each of a million objects would take hours; where many lie in one folder of a store,
the folder is listed.
"""

import os
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from pipeline.clips import path_to_uri, uri_to_path
from pipeline.errors import UsageError
from pipeline.file_uris import local_path
from pipeline.objects import FsspecObject
from pipeline.schemes import check_uri
from pipeline.signed import refuse_password, without_signature
from pipeline.sources.remote_files import SAME_PROTOCOLS
from pipeline.storage import (
    HTTP_PROTOCOLS,
    Storage,
    is_credential_error,
    is_remote,
    is_uri,
    protocol_of,
)
from pipeline.versions import MISSING, file_version, info_version

_LISTED_FROM = 20
"""Objects of one folder that are worth a listing, which tells of a thousand at a time."""
_N_THREADS = 16


class Located(NamedTuple):
    """Where a recording lies.

    Attributes:
        uri: the same however it was written, without a signature.
        read_uri: with its signature; empty where it has none.
    """

    uri: str
    read_uri: str = ""


def located(location: str, folder: str) -> Located:
    """A location as somebody wrote it.

    Args:
        location: an absolute path, a URI, or a path relative to `folder`.
        folder: a local folder or the URI of a remote one.

    Raises:
        UsageError: it has a password in it, is the URI of no store, or cannot be a name.
    """
    if "\0" in location or not _is_name(location):
        raise UsageError(f"{location[:80]!r} cannot be the name of a file")
    check_uri(location)
    if is_uri(location) and not is_remote(location):
        return Located(path_to_uri(local_path(location)))
    if is_uri(location):
        refuse_password(location)
        scheme, _, path = location.partition("://")
        uri = f"{SAME_PROTOCOLS.get(scheme.lower(), scheme.lower())}://{path}"
        shown = without_signature(uri)
        return Located(shown, uri if uri != shown else "")
    if is_remote(folder) and not location.startswith("/"):
        return Located(_joined(folder, location))
    return Located(path_to_uri(os.path.join(folder, location)))


def _is_name(location: str) -> bool:
    """Whether a location can be a name: JSON can write halves of characters, which cannot."""
    try:
        os.fsencode(location)
    except UnicodeEncodeError:
        return False
    return True


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


def versions_of(found: Mapping[str, str], storage: Storage) -> dict[str, str]:
    """The version of each recording; `missing` for what is not there or may not be looked at.

    Args:
        found: the `read_uri` of each `uri`, as `located` tells them.
        storage: how remote ones are reached.

    Raises:
        UsageError: a remote one cannot be reached at all.
        StoreError: a store is out of order.
    """
    versions = {uri: file_version(uri_to_path(uri)) for uri in found if not is_remote(uri)}
    folders = defaultdict[str, list[str]](list)
    for uri in found:
        if uri not in versions:
            folders[folder_of(uri)].append(uri)
    with ThreadPoolExecutor(_N_THREADS) as threads:
        for folder, uris in folders.items():
            known = _listed(folder, uris, storage)
            if known is None:
                read_uris = [found[uri] or uri for uri in uris]
                looks = threads.map(partial(_version, storage=storage), read_uris)
                known = dict(zip(uris, looks, strict=True))
            versions.update(known)
    return versions


def _listed(folder: str, uris: list[str], storage: Storage) -> dict[str, str] | None:
    """Versions from one listing of their folder; None where each is better asked for."""
    files = storage.filesystem(folder)
    if len(uris) < _LISTED_FROM or protocol_of(folder) in HTTP_PROTOCOLS:
        return None
    try:
        infos = storage.tried(f"listing {folder}", lambda: files.ls(folder, detail=True))
    except PermissionError:
        return None
    except FileNotFoundError:
        infos = []
    versions = {info["name"]: info_version(info) for info in infos if info["type"] == "file"}
    return {uri: versions.get(files._strip_protocol(uri), MISSING) for uri in uris}


def _version(uri: str, storage: Storage) -> str:
    shown = without_signature(uri)
    try:
        found = storage.tried(f"looking at {shown}", lambda: FsspecObject(uri, storage))
    except FileNotFoundError:
        return MISSING
    except PermissionError as error:
        if is_credential_error(error):
            raise UsageError(
                f"{shown} cannot be looked at: {storage.redacted(str(error))}; set other "
                "credentials, or --storage-options anon=true for a public bucket"
            ) from error
        return MISSING
    return found.version

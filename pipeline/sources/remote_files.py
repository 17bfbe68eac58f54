"""Remote folders, files and globs: one listing each, which tells the versions as well."""

import glob
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from pipeline.errors import StoreError, UsageError
from pipeline.io.http.host_rules import origin_of
from pipeline.io.objects import FsspecObject
from pipeline.io.signed_urls import (
    DEFAULT_QUERY_RULE,
    QueryRule,
    refuse_password,
    strip_signature,
)
from pipeline.io.storage import (
    HTTP_PROTOCOLS,
    S3_PROTOCOLS,
    Storage,
    is_credential_error,
    protocol_of,
)
from pipeline.io.versions import info_version
from pipeline.sources.patterns import folder_of_glob
from pipeline.sources.s3_glob import glob_levels

SAME_PROTOCOLS = {"s3a": "s3", "gcs": "gs"}
"""Other names, and the one that URIs are kept with."""


class RemoteFile(NamedTuple):
    """A file as a listing found it.

    Attributes:
        uri: the same on every machine, without a signature.
        version: its etag, else size and time.
        below: its path below the source, which patterns are held against.
        is_named: by a person or by a glob, and not found in a folder.
        n_bytes: its size, where that is known.
        read_uri: the URI with its signature; empty where it has none.
    """

    uri: str
    version: str
    below: str
    is_named: bool
    n_bytes: int | None
    read_uri: str = ""


def find_remote(
    source: str, storage: Storage, rule: QueryRule = DEFAULT_QUERY_RULE
) -> Iterator[RemoteFile]:
    """The files of a remote folder, file or glob, whatever their ending.

    Args:
        source: its URI.
        storage: how it is reached.
        rule: Which parameters of a URL are kept.

    Raises:
        UsageError: it is not there, or may not be listed; or there are no such URIs.
        StoreError: the store is out of order.
    """
    refuse_password(source)
    scheme, _, path = source.partition("://")
    # A person names it, so its host is the person's own.
    storage = storage.owning([source])
    protocol = SAME_PROTOCOLS.get(scheme.lower(), scheme.lower())
    # Not the scheme in capitals, which fsspec takes for a part of the path.
    located = f"{protocol}://{path}"
    if protocol in HTTP_PROTOCOLS:
        yield _by_http(located, storage, rule)
        return
    infos, root = _infos(source, located, storage)
    files = storage.filesystem(located)
    top = files._strip_protocol(root).strip("/")
    for info, is_named in infos:
        name = info["name"].lstrip("/")
        below = name.removeprefix(top).lstrip("/") or os.path.basename(name.rstrip("/"))
        if name.endswith("/"):
            below, is_named = f"{below.rstrip('/')}/", False
        version, n_bytes = info_version(info), info.get("size")
        yield RemoteFile(f"{protocol}://{name}", version, below, is_named, n_bytes)


def _infos(
    source: str, located: str, storage: Storage
) -> tuple[list[tuple[dict[str, Any], bool]], str]:
    """What the store says of each file, and whether it is named; and where the paths begin."""
    files = storage.filesystem(located)

    def found(folder: str) -> list[dict[str, Any]]:
        infos = files.find(folder, detail=True)
        if isinstance(infos, list):
            infos = {name: files.info(name) for name in infos}  # adlfs of a single file
        return [info for info in infos.values() if _is_file(info)]

    def is_there(path: str) -> bool:
        try:
            files.info(path)
        except FileNotFoundError:
            return False
        return True

    def listed() -> tuple[list[tuple[dict[str, Any], bool]], str]:
        if glob.has_magic(located) and not is_there(located):
            taken: list[tuple[dict[str, Any], bool]] = []
            for path, info in _globbed(files, located).items():
                if _is_file(info):
                    taken.append((info, True))
                elif info["type"] == "directory":
                    taken += [(each, False) for each in found(path)]
            return taken, folder_of_glob(located)
        in_folder = found(located)
        root = files._strip_protocol(located).strip("/")
        is_file = len(in_folder) == 1 and in_folder[0]["name"].lstrip("/") == root
        return [(info, is_file) for info in in_folder], located

    try:
        infos, root = storage.retry(f"source {source!r} cannot be listed", listed)
    except FileNotFoundError as error:
        raise _refused(source, storage, "no such file, folder or bucket") from error
    except PermissionError as error:
        reason = f"no permission to list it ({error}); ask for the right to list it"
        raise _refused(source, storage, reason) from error
    except StoreError as error:
        if is_credential_error(error):
            raise UsageError(str(error)) from error
        raise
    if infos:
        return infos, root
    if glob.has_magic(source):
        raise _refused(source, storage, "the glob matches no file")
    raise _refused(
        source,
        storage,
        f"no such file, or folder with files; a part of a name goes with *: {source}*",
    )


def _by_http(url: str, storage: Storage, rule: QueryRule) -> RemoteFile:
    shown = strip_signature(url, rule)
    if not origin_of(url):
        raise _refused(shown, storage, "is no URL that can be asked for; correct it")
    if shown.endswith("/"):
        raise _refused(
            shown, storage, "folders cannot be listed over http; name files, or a manifest of them"
        )
    try:
        found = storage.retry(f"source {shown!r}", lambda: FsspecObject(url, storage))
    except FileNotFoundError as error:
        raise _refused(
            shown, storage, "no such file (404); over http each file is named, without globs"
        ) from error
    except PermissionError as error:
        raise _refused(
            shown, storage, "no permission to read it; a signed URL may have expired"
        ) from error
    name = shown.partition("?")[0].rpartition("/")[2]
    read_uri = url if url != shown else ""
    return RemoteFile(shown, found.version, name, True, found.size, read_uri)


def _globbed(files: Any, located: str) -> dict[str, Any]:
    found = None
    if protocol_of(located) in S3_PROTOCOLS:
        found = glob_levels(files, files._strip_protocol(located))
    return dict(files.glob(located, detail=True)) if found is None else found


def _is_file(info: dict[str, Any]) -> bool:
    # Object stores mark folders by empty objects whose names end in a slash. One that is not empty
    # is no folder: it cannot be read by its name either, and so is counted among what is skipped.
    return info["type"] == "file" and bool(not info["name"].endswith("/") or info.get("size"))


def _refused(source: str, storage: Storage, reason: str) -> UsageError:
    return UsageError(f"source {storage.redact(source)!r}: {storage.redact(reason)}")

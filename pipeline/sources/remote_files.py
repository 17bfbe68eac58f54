"""Lists remote folders, files and globs; each listing has the versions of the files as well."""

import glob
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from pipeline.errors import StoreError, UsageError
from pipeline.io.http.host_rules import origin_of
from pipeline.io.objects import FsspecObject
from pipeline.io.protocols import HTTP_PROTOCOLS, S3_PROTOCOLS, protocol_of
from pipeline.io.signed_urls import (
    DEFAULT_QUERY_RULE,
    QueryRule,
    refuse_password,
    strip_signature,
)
from pipeline.io.storage import Storage, is_credential_error
from pipeline.io.versions import info_version
from pipeline.sources.patterns import glob_root
from pipeline.sources.s3_glob import glob_levels

PROTOCOL_ALIASES = {"s3a": "s3", "gcs": "gs"}
"""Protocol that URIs are stored with, by its other names."""


class RemoteFile(NamedTuple):
    """A file that the listing of a remote source found.

    Attributes:
        uri: URI of the file without a signature, the same on every machine.
        version: Etag of the file, else its size and modification time.
        below: Path below the source, which `--include` and `--exclude` patterns are compared with.
        is_named: Whether the user named the file or a glob matched it. False for a file found in a
            folder.
        n_bytes: Size in bytes; None if unknown.
        read_uri: URI with its signature; empty if it has none.
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
    """Yield the files of a remote folder, file or glob, with any ending.

    Args:
        source: URI of the folder, file or glob.
        storage: Access to remote locations.
        rule: Rule for the URL parameters that stay in `uri`.

    Raises:
        UsageError: The source does not exist, may not be listed or is not a valid URI.
        StoreError: The store is unavailable.
    """
    refuse_password(source)
    scheme, _, path = source.partition("://")
    # The user named this source, so its host is trusted as the user's own.
    storage = storage.with_own_hosts([source])
    protocol = PROTOCOL_ALIASES.get(scheme.lower(), scheme.lower())
    # fsspec takes a scheme in capitals for a part of the path.
    uri = f"{protocol}://{path}"
    if protocol in HTTP_PROTOCOLS:
        yield _find_http_file(uri, storage, rule)
        return
    infos, root = _list_infos(source, uri, storage)
    files = storage.filesystem(uri)
    root_path = files._strip_protocol(root).strip("/")
    for info, is_named in infos:
        name = info["name"].lstrip("/")
        below = name.removeprefix(root_path).lstrip("/") or os.path.basename(name.rstrip("/"))
        if name.endswith("/"):
            below, is_named = f"{below.rstrip('/')}/", False
        version, n_bytes = info_version(info), info.get("size")
        yield RemoteFile(f"{protocol}://{name}", version, below, is_named, n_bytes)


def _list_infos(
    source: str, uri: str, storage: Storage
) -> tuple[list[tuple[dict[str, Any], bool]], str]:
    """Return the fsspec info of each file and whether the file is named, and the root of the paths.

    Args:
        source: Source as the user named it, for messages.
        uri: URI of the source, its protocol in lower case and without aliases.
        storage: Access to remote locations.

    Raises:
        UsageError: The source does not exist or may not be listed.
        StoreError: The store is unavailable.
    """
    files = storage.filesystem(uri)

    def find_files(folder: str) -> list[dict[str, Any]]:
        infos = files.find(folder, detail=True)
        if isinstance(infos, list):
            infos = {name: files.info(name) for name in infos}  # adlfs returns this for one file
        return [info for info in infos.values() if _is_file(info)]

    def exists(path: str) -> bool:
        try:
            files.info(path)
        except FileNotFoundError:
            return False
        return True

    def list_source() -> tuple[list[tuple[dict[str, Any], bool]], str]:
        if glob.has_magic(uri) and not exists(uri):
            matches: list[tuple[dict[str, Any], bool]] = []
            for path, info in _expand_glob(files, uri).items():
                if _is_file(info):
                    matches.append((info, True))
                elif info["type"] == "directory":
                    matches += [(each, False) for each in find_files(path)]
            return matches, glob_root(uri)
        infos = find_files(uri)
        path = files._strip_protocol(uri).strip("/")
        is_file = len(infos) == 1 and infos[0]["name"].lstrip("/") == path
        return [(info, is_file) for info in infos], uri

    try:
        infos, root = storage.retry(f"source {source!r} cannot be listed", list_source)
    except FileNotFoundError as error:
        raise _source_error(source, storage, "no such file, folder or bucket") from error
    except PermissionError as error:
        reason = f"no permission to list it ({error}); ask its owner for the right to list it"
        raise _source_error(source, storage, reason) from error
    except StoreError as error:
        if is_credential_error(error):
            raise UsageError(str(error)) from error
        raise
    if infos:
        return infos, root
    if glob.has_magic(source):
        raise _source_error(source, storage, "the glob matches no file")
    raise _source_error(
        source,
        storage,
        f"no such file, or folder with files; if it is the start of a name, add *: {source}*",
    )


def _find_http_file(url: str, storage: Storage, rule: QueryRule) -> RemoteFile:
    shown = strip_signature(url, rule)
    if not origin_of(url):
        raise _source_error(shown, storage, "is not a URL that can be requested; correct it")
    if shown.endswith("/"):
        raise _source_error(
            shown, storage, "folders cannot be listed over http; name files, or a manifest of them"
        )
    try:
        found = storage.retry(f"source {shown!r}", lambda: FsspecObject(url, storage))
    except FileNotFoundError as error:
        raise _source_error(
            shown, storage, "no such file (404); globs do not work over http, so name each file"
        ) from error
    except PermissionError as error:
        raise _source_error(
            shown, storage, "no permission to read it; a signed URL may have expired"
        ) from error
    name = shown.partition("?")[0].rpartition("/")[2]
    read_uri = url if url != shown else ""
    return RemoteFile(shown, found.version, name, True, found.size, read_uri)


def _expand_glob(files: Any, uri: str) -> dict[str, Any]:
    found = None
    if protocol_of(uri) in S3_PROTOCOLS:
        found = glob_levels(files, files._strip_protocol(uri))
    return dict(files.glob(uri, detail=True)) if found is None else found


def _is_file(info: dict[str, Any]) -> bool:
    # Object stores mark folders by empty objects whose names end in a slash. An object with such a
    # name that is not empty cannot be read by its name. It stays here, so that it is counted as
    # skipped.
    return info["type"] == "file" and bool(not info["name"].endswith("/") or info.get("size"))


def _source_error(source: str, storage: Storage, reason: str) -> UsageError:
    return UsageError(f"source {storage.redact(source)!r}: {storage.redact(reason)}")

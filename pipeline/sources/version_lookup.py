"""Looks up the versions of recordings that a manifest or standard input names.

A local file's version comes from its status. Requests for a million objects, each by itself, would
take hours. Where a list names many objects of one folder of a store, the folder is listed instead.
"""

import os
import time
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from pipeline.clips import path_to_uri, uri_to_path
from pipeline.errors import ClipError, StoreError, UsageError
from pipeline.io.file_uris import local_path
from pipeline.io.http.host_rules import origin_of
from pipeline.io.http.server_faults import BAD_URL, NOT_ALLOWED, UNREACHABLE
from pipeline.io.named_hosts import ask_host, forget_failures, has_answer
from pipeline.io.objects import FsspecObject
from pipeline.io.protocols import HTTP_PROTOCOLS, is_remote, is_uri, protocol_of
from pipeline.io.schemes import check_uri
from pipeline.io.signed_urls import (
    DEFAULT_QUERY_RULE,
    QueryRule,
    hidden_difference,
    refuse_password,
    strip_signature,
)
from pipeline.io.storage import Storage, is_credential_error
from pipeline.io.versions import MISSING, file_version, info_version
from pipeline.sources.remote_files import PROTOCOL_ALIASES
from pipeline.wording import brief

_MIN_OBJECTS_TO_LIST = 20
"""Fewest objects of one folder for which it is listed; a request lists up to 1,000 objects."""
_N_THREADS = 16


class ResolvedUri(NamedTuple):
    """The URI of a recording in its normal form.

    Attributes:
        uri: URI without a signature, the same for all ways to write the location.
        read_uri: URI with its signature; empty if it has none.
    """

    uri: str
    read_uri: str = ""


def resolve_uri(location: str, folder: str, rule: QueryRule = DEFAULT_QUERY_RULE) -> ResolvedUri:
    """Return the URI of a recording that a manifest or standard input names.

    Args:
        location: Absolute path, URI, or path relative to `folder`.
        folder: Local folder, or URI of a remote folder.
        rule: Rule for the URL parameters that stay in `uri`.

    Raises:
        UsageError: The location has a password in it, has a scheme that no store has, or has
            characters that no file name has.
    """
    try:
        # The test for ":" is fast; a manifest may have millions of rows, and most are paths.
        if ":" in location and is_uri(location):
            resolved = _resolve_absolute_uri(location, rule)
        elif is_remote(folder) and not location.startswith("/"):
            resolved = ResolvedUri(_join_uri(folder, location))
        else:
            resolved = ResolvedUri(path_to_uri(os.path.join(folder, location)))
        resolved.uri.encode()  # JSON can write lone surrogates, which no name has
    except UnicodeEncodeError as error:
        raise UsageError(f"{brief(location)} cannot be the name of a file") from error
    if "\0" in location:
        raise UsageError(f"{brief(location)} cannot be the name of a file")
    return resolved


def _resolve_absolute_uri(location: str, rule: QueryRule) -> ResolvedUri:
    check_uri(location)
    if not is_remote(location):
        return ResolvedUri(path_to_uri(local_path(location)))
    refuse_password(location)
    scheme, _, path = location.partition("://")
    uri = f"{PROTOCOL_ALIASES.get(scheme.lower(), scheme.lower())}://{path}"
    shown = strip_signature(uri, rule)
    return ResolvedUri(shown, uri if uri != shown else "")


def refuse_hidden_difference(
    first: ResolvedUri, second: ResolvedUri, rule: QueryRule, where: str
) -> None:
    """Raise UsageError if two signed URLs of one `uri` may stand for different recordings.

    Args:
        first: URI of the first entry of a list.
        second: URI of the second entry, with the same `uri`.
        rule: Rule for the URL parameters that stay in `uri`.
        where: Both entries, for the message.

    Raises:
        UsageError: The URLs differ in a removed parameter that may be part of the recording's name.
    """
    if first.read_uri == second.read_uri or not (first.read_uri and second.read_uri):
        return
    if name := hidden_difference(first.read_uri, second.read_uri, rule):
        raise UsageError(
            f"{where} name {first.uri!r} with different values of {name!r}, which looks like a "
            f"secret and is not kept; if it distinguishes recordings, add --keep-query {name}, "
            f"else --strip-query {name}"
        )


def parent_uri(uri: str) -> str:
    """Return the URI of the folder that holds a remote file."""
    scheme, _, path = uri.partition("://")
    return f"{scheme}://{path.rpartition('/')[0]}"


def _join_uri(folder: str, location: str) -> str:
    scheme, _, path = folder.partition("://")
    parts = [part for part in path.split("/") if part]
    for part in location.split("/"):
        if part == "..":
            del parts[max(1, len(parts) - 1) :]  # never the bucket or the host
        elif part not in ("", "."):
            parts.append(part)
    return f"{scheme}://{'/'.join(parts)}"


class VersionLookups(NamedTuple):
    """The versions of recordings that a list names, and the errors of the lookups.

    Attributes:
        versions: Version of each recording, by uri; `missing` if it does not exist or could not be
            looked up.
        failures: Error class and message of each recording that could not be looked up, by uri.
    """

    versions: dict[str, str]
    failures: dict[str, tuple[str, str]]


def look_up_versions(found: Mapping[str, str], storage: Storage) -> VersionLookups:
    """Return the version of each recording, or the error of its lookup.

    Args:
        found: The `read_uri` of each recording by its `uri`, as `resolve_uri` returns them.
        storage: Access to remote locations, with the rules for hosts that a list may name.

    Raises:
        UsageError: A store rejects the credentials.
        StoreError: A store is unavailable, or no HTTP host answers at all.
    """
    forget_failures()
    began_s = time.monotonic()
    failures: dict[str, tuple[str, str]] = {}
    for uri in found:
        if reason := storage.rules.refusal(uri):
            failures[uri] = NOT_ALLOWED, f"{uri}: {reason}"
        elif protocol_of(uri) in HTTP_PROTOCOLS and not origin_of(uri):
            failures[uri] = BAD_URL, f"{uri}: is not a URL that can be requested; correct it"
    versions = dict.fromkeys(failures, MISSING)
    folders = defaultdict[str, list[str]](list)
    for uri in found:
        if uri in failures:
            continue
        if not is_remote(uri):
            versions[uri] = file_version(uri_to_path(uri))
        else:
            folders[parent_uri(uri)].append(uri)
    with ThreadPoolExecutor(_N_THREADS) as threads:
        requests: list[tuple[str, Future[str]]] = []
        for folder, uris in folders.items():
            listed = _list_versions(folder, uris, storage)
            if listed is not None:
                versions.update(listed)
                continue
            requests += [
                (uri, threads.submit(_request_version, uri, found[uri] or uri, storage))
                for uri in uris
            ]
        try:
            for uri, version in requests:
                try:
                    versions[uri] = version.result()
                except ClipError as error:
                    versions[uri], failures[uri] = MISSING, (error.error_class, error.message)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    _check_network(versions, failures, began_s)
    return VersionLookups(versions, failures)


def _check_network(
    versions: Mapping[str, str], failures: Mapping[str, tuple[str, str]], began_s: float
) -> None:
    """Raise StoreError if no host answers at all: the network is then at fault, not the hosts.

    Args:
        versions: Versions of all recordings, by uri.
        failures: Error class and message of failed lookups, by uri.
        began_s: When the lookups began, by `time.monotonic`.

    Raises:
        StoreError: No host has answered, and no other recording was found either.
    """
    dead = [message for kind, message in failures.values() if kind == UNREACHABLE]
    is_any_found = any(version != MISSING for version in versions.values())
    if not dead or is_any_found or has_answer(began_s):
        return
    hosts = sorted({origin_of(u) for u, (kind, _) in failures.items() if kind == UNREACHABLE})
    if len(hosts) > 1:
        finding = f"none of the {len(hosts)} hosts that the list names answers"
    else:
        finding = f"{hosts[0]} is the only host of the list, and does not answer"
    raise StoreError(
        f"{finding}: {dead[0]}. Check the network of this machine (behind a proxy, add "
        """--storage-options client_kwargs='{"trust_env": true}'), then repeat the command"""
    )


def _list_versions(folder: str, uris: list[str], storage: Storage) -> dict[str, str] | None:
    """Return versions by uri from one listing of the folder; None if each needs its own request."""
    files = storage.filesystem(folder)
    if len(uris) < _MIN_OBJECTS_TO_LIST or protocol_of(folder) in HTTP_PROTOCOLS:
        return None
    try:
        infos = storage.retry(f"listing {folder}", lambda: files.ls(folder, detail=True))
    except PermissionError:
        return None
    except FileNotFoundError:
        infos = []
    versions = {info["name"]: info_version(info) for info in infos if info["type"] == "file"}
    return {uri: versions.get(files._strip_protocol(uri), MISSING) for uri in uris}


def _request_version(shown: str, uri: str, storage: Storage) -> str:
    operation = f"looking up {shown}"
    try:
        if protocol_of(uri) in HTTP_PROTOCOLS:
            request = partial(FsspecObject, uri, storage)
            return ask_host(operation, uri, shown, storage, request, is_listing=True).version
        return storage.retry(operation, lambda: FsspecObject(uri, storage)).version
    except FileNotFoundError:
        return MISSING
    except PermissionError:
        return MISSING
    except StoreError as error:
        if is_credential_error(error):
            raise UsageError(str(error)) from error
        raise

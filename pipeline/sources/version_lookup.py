"""The versions of recordings that somebody else named: by their status, or by listings of folders.

A request for each of a million objects would take hours; where many lie in one folder of a store,
the folder is listed.
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
from pipeline.io.schemes import check_uri
from pipeline.io.signed_urls import (
    DEFAULT_QUERY_RULE,
    QueryRule,
    hidden_difference,
    refuse_password,
    strip_signature,
)
from pipeline.io.storage import (
    HTTP_PROTOCOLS,
    Storage,
    is_credential_error,
    is_remote,
    is_uri,
    protocol_of,
)
from pipeline.io.versions import MISSING, file_version, info_version
from pipeline.sources.remote_files import SAME_PROTOCOLS
from pipeline.wording import brief

_LISTED_FROM = 20
"""Objects of one folder that are worth a listing, which tells of a thousand at a time."""
_N_THREADS = 16


class ResolvedUri(NamedTuple):
    """Where a recording lies.

    Attributes:
        uri: the same however it was written, without a signature.
        read_uri: with its signature; empty where it has none.
    """

    uri: str
    read_uri: str = ""


def resolve_uri(location: str, folder: str, rule: QueryRule = DEFAULT_QUERY_RULE) -> ResolvedUri:
    """A location as somebody wrote it.

    Args:
        location: an absolute path, a URI, or a path relative to `folder`.
        folder: a local folder or the URI of a remote one.
        rule: Which parameters of a URL are kept.

    Raises:
        UsageError: it has a password in it, is the URI of no store, or cannot be a name.
    """
    try:
        # Most rows of a manifest are paths, and there may be millions.
        if ":" in location and is_uri(location):
            found = _located_uri(location, rule)
        elif is_remote(folder) and not location.startswith("/"):
            found = ResolvedUri(_joined(folder, location))
        else:
            found = ResolvedUri(path_to_uri(os.path.join(folder, location)))
        found.uri.encode()  # JSON can write halves of characters, which no name has
    except UnicodeEncodeError as error:
        raise UsageError(f"{brief(location)} cannot be the name of a file") from error
    if "\0" in location:
        raise UsageError(f"{brief(location)} cannot be the name of a file")
    return found


def _located_uri(location: str, rule: QueryRule) -> ResolvedUri:
    check_uri(location)
    if not is_remote(location):
        return ResolvedUri(path_to_uri(local_path(location)))
    refuse_password(location)
    scheme, _, path = location.partition("://")
    uri = f"{SAME_PROTOCOLS.get(scheme.lower(), scheme.lower())}://{path}"
    shown = strip_signature(uri, rule)
    return ResolvedUri(shown, uri if uri != shown else "")


def refuse_hidden_difference(
    one: ResolvedUri, other: ResolvedUri, rule: QueryRule, where: str
) -> None:
    """See that two entries of a list that name one recording do so under one URL.

    Args:
        one: The first entry.
        other: The second entry, with the same `uri`.
        rule: Which parameters of a URL are kept.
        where: Both entries, for the message.

    Raises:
        UsageError: They differ in a parameter that may be a part of the recording's name.
    """
    if one.read_uri == other.read_uri or not (one.read_uri and other.read_uri):
        return
    if name := hidden_difference(one.read_uri, other.read_uri, rule):
        raise UsageError(
            f"{where} name {one.uri!r} with different values of {name!r}, which looks like a "
            f"secret and is not kept; --keep-query {name} keeps it if it tells recordings apart, "
            f"--strip-query {name} leaves it out"
        )


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


class VersionLookups(NamedTuple):
    """What was found of recordings that a list names.

    Attributes:
        versions: By uri; `missing` for what is not there or could not be looked at.
        failures: By uri, class and message of the error of each that could not be asked for.
    """

    versions: dict[str, str]
    failures: dict[str, tuple[str, str]]


def look_up_versions(found: Mapping[str, str], storage: Storage) -> VersionLookups:
    """Find the version of each recording; what cannot be had is told with its reason.

    Args:
        found: The `read_uri` of each `uri`, as `resolve_uri` returns them.
        storage: How remote ones are reached, and what a list may name.

    Raises:
        UsageError: A store does not know the credentials.
        StoreError: A store is out of order, or no host at all answers.
    """
    forget_failures()
    began_s = time.monotonic()
    failures: dict[str, tuple[str, str]] = {}
    for uri in found:
        if reason := storage.rules.refusal(uri):
            failures[uri] = NOT_ALLOWED, f"{uri}: {reason}"
        elif protocol_of(uri) in HTTP_PROTOCOLS and not origin_of(uri):
            failures[uri] = BAD_URL, f"{uri}: is no URL that can be asked for; correct it"
    versions = dict.fromkeys(failures, MISSING)
    folders = defaultdict[str, list[str]](list)
    for uri in found:
        if uri in failures:
            continue
        if not is_remote(uri):
            versions[uri] = file_version(uri_to_path(uri))
        else:
            folders[folder_of(uri)].append(uri)
    with ThreadPoolExecutor(_N_THREADS) as threads:
        asked: list[tuple[str, Future[str]]] = []
        for folder, uris in folders.items():
            known = _listed(folder, uris, storage)
            if known is not None:
                versions.update(known)
                continue
            asked += [
                (uri, threads.submit(_version, uri, found[uri] or uri, storage)) for uri in uris
            ]
        try:
            for uri, version in asked:
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
    """See that not everything is out of reach: then it is not the hosts that are out of order.

    Raises:
        StoreError: No host has answered, and nothing else can be read.
    """
    dead = [message for kind, message in failures.values() if kind == UNREACHABLE]
    is_any_there = any(version != MISSING for version in versions.values())
    if not dead or is_any_there or has_answer(began_s):
        return
    hosts = sorted({origin_of(u) for u, (kind, _) in failures.items() if kind == UNREACHABLE})
    of_all = f"none of the {len(hosts)} hosts" if len(hosts) > 1 else f"{hosts[0]} is the only host"
    named = "that the list names answers" if len(hosts) > 1 else "of the list, and does not answer"
    raise StoreError(
        f"{of_all} {named}: {dead[0]}. See that this machine has a network (a proxy goes with "
        """--storage-options client_kwargs='{"trust_env": true}'); the same command goes on"""
    )


def _listed(folder: str, uris: list[str], storage: Storage) -> dict[str, str] | None:
    """Versions from one listing of their folder; None where each is better asked for."""
    files = storage.filesystem(folder)
    if len(uris) < _LISTED_FROM or protocol_of(folder) in HTTP_PROTOCOLS:
        return None
    try:
        infos = storage.retry(f"listing {folder}", lambda: files.ls(folder, detail=True))
    except PermissionError:
        return None
    except FileNotFoundError:
        infos = []
    versions = {info["name"]: info_version(info) for info in infos if info["type"] == "file"}
    return {uri: versions.get(files._strip_protocol(uri), MISSING) for uri in uris}


def _version(shown: str, uri: str, storage: Storage) -> str:
    what = f"looking at {shown}"
    try:
        if protocol_of(uri) in HTTP_PROTOCOLS:
            ask = partial(FsspecObject, uri, storage)
            return ask_host(what, uri, shown, storage, ask, is_listing=True).version
        return storage.retry(what, lambda: FsspecObject(uri, storage)).version
    except FileNotFoundError:
        return MISSING
    except PermissionError:
        return MISSING
    except StoreError as error:
        if is_credential_error(error):
            raise UsageError(str(error)) from error
        raise

"""Finds the files of one format: expands braces and globs, and searches folders.

Each folder is searched once, however many links lead to it, so a loop of links ends. Real folders
are searched before linked ones, so a file gets the name without links where it has one. In folders,
files with an ending of the format are accepted and the others are counted. A file that the user
named or a glob matched is accepted with any ending. Links that lead out of the sources are skipped,
and so are AppleDouble files and the folders of operating systems. Remote locations are listed by
`remote_files`.
"""

import contextlib
import glob
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from pipeline.clips import Container, path_to_uri
from pipeline.errors import UsageError
from pipeline.io.file_uris import local_path
from pipeline.io.protocols import is_remote
from pipeline.io.storage import Storage
from pipeline.io.versions import file_version_and_size
from pipeline.readers.apple_double import APPLE_DOUBLE, APPLE_DOUBLE_KIND, is_apple_double
from pipeline.readers.system_folders import system_folder
from pipeline.sources.braces import expand_braces
from pipeline.sources.links import LEAVING_LINKS, Boundary
from pipeline.sources.listing import SourceOptions
from pipeline.sources.patterns import FileFilter, glob_root
from pipeline.sources.remote_files import RemoteFile, find_remote

_THREADS = 16
_MAX_SHOWN = 3
"""Most missing names that a message shows."""


class FoundFile(NamedTuple):
    """A file of a source, local or remote.

    Attributes:
        uri: URI of the file without a signature, the same on every machine.
        version: String that changes when the content does.
        n_bytes: Size in bytes; None if unknown.
        read_uri: URI with its signature; empty if it has none.
    """

    uri: str
    version: str
    n_bytes: int | None
    read_uri: str = ""


class Locations:
    """The locations of one format, and the files that they stand for.

    Args:
        locations: Folders, files, globs and names with braces, as the user named them. Folders are
            searched recursively; `**` in a glob crosses folders.
        endings: Endings of the format, in lower case with their dots.
        options: Options for all sources.
    """

    def __init__(
        self, locations: Sequence[str], endings: Sequence[str], options: SourceOptions
    ) -> None:
        self._locations = locations
        self._storage = options.storage
        self._follow_links = options.follow_links
        self._query = options.query
        self._filter = FileFilter(options, endings)

    @property
    def skipped(self) -> Counter[str]:
        """Number of skipped files by ending; by kind for links, AppleDouble and system files."""
        return self._filter.skipped

    def files(self) -> Iterator[FoundFile]:
        """Yield each file. A remote file of overlapping locations may come several times.

        Raises:
            UsageError: A location does not exist, a glob matches nothing, or a folder cannot be
                listed.
            StoreError: A store is unavailable.
        """
        self._filter.skipped.clear()
        local = [local_path(each) for each in self._locations if not is_remote(each)]
        named = [each for location in local for each in _expand_location(location)]
        roots = [each.root or each.path for each in named if each.root or os.path.isdir(each.path)]
        boundary = Boundary(dict.fromkeys(roots), self._follow_links)
        folders, paths = list[str](), set[str]()
        for path, below, root in named:
            if root and not boundary.allows_match(path):
                self._filter.skipped[LEAVING_LINKS] += 1
            elif os.path.isdir(path):
                folders.append(path)
            elif self._filter.accepts(below, is_named=True):
                paths.add(os.path.abspath(path))
        paths.update(_walk(folders, self._filter, boundary))
        for path in paths:
            if os.path.basename(path).startswith("._") and _is_local_apple_double(path):
                self._filter.skipped[APPLE_DOUBLE_KIND] += 1
                continue
            yield FoundFile(path_to_uri(path), *file_version_and_size(path))
        maybe_apple_double = list[FoundFile]()
        for file in self._find_remote_files([each for each in self._locations if is_remote(each)]):
            if self._filter.accepts(file.below, file.is_named):
                found = FoundFile(file.uri, file.version, file.n_bytes, file.read_uri)
                if file.below.rpartition("/")[2].startswith("._"):
                    maybe_apple_double.append(found)
                else:
                    yield found
        yield from self._drop_apple_double(maybe_apple_double)

    def _drop_apple_double(self, files: Sequence[FoundFile]) -> Iterator[FoundFile]:
        if not files:
            return
        with ThreadPoolExecutor(_THREADS) as pool:
            results = pool.map(lambda file: _is_remote_apple_double(file, self._storage), files)
            for file, is_apple_double_file in zip(files, results, strict=True):
                if is_apple_double_file:
                    self._filter.skipped[APPLE_DOUBLE_KIND] += 1
                else:
                    yield file

    def _find_remote_files(self, locations: Sequence[str]) -> Iterator[RemoteFile]:
        names = [name for location in locations for name in expand_braces(location)]
        if len(names) == 1:
            yield from find_remote(names[0], self._storage, self._query)
            return
        with ThreadPoolExecutor(_THREADS) as pool:
            find = partial(find_remote, storage=self._storage, rule=self._query)
            for found in pool.map(lambda name: list(find(name)), names):
                yield from found


def find_containers(locations: Locations, kind: str) -> list[Container]:
    """Return the files of locations as containers, each once and sorted.

    Args:
        locations: Locations of one format.
        kind: Kind of the containers, which selects their reader.

    Raises:
        UsageError: A location cannot be listed, or a file has a signed URL.
        StoreError: A store is unavailable.
    """
    found = set[Container]()
    for file in locations.files():
        if file.read_uri:
            raise UsageError(
                f"source {file.uri!r}: a signed URL can only name a single recording; download the "
                "file, or name it by its URI in the store"
            )
        found.add(Container(file.uri, file.version, kind=kind, n_bytes=file.n_bytes))
    return sorted(found)


def _is_local_apple_double(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return is_apple_double(file.read(len(APPLE_DOUBLE)))
    except OSError:  # its reader reports why the file cannot be read
        return False


def _is_remote_apple_double(file: FoundFile, storage: Storage) -> bool:
    uri, end = file.read_uri or file.uri, len(APPLE_DOUBLE)
    if file.n_bytes is not None and file.n_bytes < end:
        return False
    files = storage.filesystem(uri)
    with contextlib.suppress(FileNotFoundError, PermissionError):
        start = storage.retry(
            f"reading the start of {file.uri}", lambda: files.cat_file(uri, start=0, end=end)
        )
        return is_apple_double(start)
    return False


class _NamedPath(NamedTuple):
    """A local path that a location stands for.

    Attributes:
        path: Path of a file or folder.
        below: Path below the source, which `--include` and `--exclude` patterns are compared with.
        root: Folder above the glob's first wildcard; empty for a path that is not from a glob.
    """

    path: str
    below: str
    root: str = ""


def _expand_location(location: str) -> list[_NamedPath]:
    """Return the local paths that a location stands for, with its braces and globs expanded.

    Raises:
        UsageError: A name does not exist, or a glob matches nothing.
    """
    if os.path.lexists(location):
        return [_NamedPath(location, os.path.basename(os.path.abspath(location)))]
    found: list[_NamedPath] = []
    missing: list[str] = []
    names = expand_braces(location)
    for name in names:
        exists = os.path.lexists(name)
        matches = [name] if exists else glob.glob(name, recursive=True, include_hidden=True)
        top = os.path.dirname(name) + "/" if exists else glob_root(name)
        root = "" if exists else top or "."
        found += [_NamedPath(path, path.removeprefix(top), root) for path in sorted(matches)]
        if not matches:
            missing.append(name)
    if missing == [location]:
        reason = (
            "the glob matches no file" if glob.has_magic(location) else "no such file or folder"
        )
        raise UsageError(f"source {location!r}: {reason}")
    if missing:
        shown = ", ".join(repr(name) for name in missing[:_MAX_SHOWN])
        more = f" and {len(missing) - _MAX_SHOWN} more" if len(missing) > _MAX_SHOWN else ""
        raise UsageError(f"source {location!r}: no such file or folder: {shown}{more}")
    return found


def _walk(roots: Sequence[str], file_filter: FileFilter, boundary: Boundary) -> Iterator[str]:
    walked: set[tuple[int, int]] = set()
    # All roots are walked together, in sorted order, as a clip's name must not depend on the order
    # of the sources. Each folder comes with its root, as patterns apply to the path below the root.
    real_folders, linked_folders = list[tuple[str, str]](), list[tuple[str, str]]()
    for root in sorted(roots, key=os.path.abspath):
        is_real = os.path.realpath(root) == os.path.abspath(root)
        (real_folders if is_real else linked_folders).append((root, root))
    real_folders.reverse()
    while real_folders or linked_folders:
        folder, root = real_folders.pop() if real_folders else linked_folders.pop(0)
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in walked:
            continue
        walked.add((status.st_dev, status.st_ino))
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            if system := system_folder(os.path.relpath(folder, root)):
                file_filter.skipped[f"{system}/"] += 1  # macOS allows no process to list some
                continue
            raise UsageError(
                f"folder {folder!r} cannot be listed: {error.strerror}; grant read permission, or "
                "name sources that do not include it"
            ) from error
        below: list[tuple[str, str]] = []
        for entry in entries:
            if entry.is_symlink() and not boundary.allows_link(entry.path):
                if _is_folder(entry) or file_filter.accepts(os.path.relpath(entry.path, root)):
                    file_filter.skipped[LEAVING_LINKS] += 1
                continue
            if _is_folder(entry):
                (linked_folders if entry.is_symlink() else below).append((entry.path, root))
                continue
            if file_filter.accepts(os.path.relpath(entry.path, root)):
                yield os.path.abspath(entry.path)
        real_folders.extend(reversed(below))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return stat.S_ISDIR(entry.stat().st_mode)
    except OSError:  # a broken link, or a loop of links
        return False

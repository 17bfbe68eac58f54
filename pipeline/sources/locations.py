"""Where the files of a format lie: braces, globs and folders, here and in stores, to files.

Folders are walked once each, however many links lead there, and real folders before linked ones,
so a loop of links ends and a file has the name that a person would give it. From a folder the files
with an ending of the format are taken, and what was passed over is counted; a file that is named,
or matched by a glob, is taken whatever its ending. Links that leave the sources are passed over,
and so are AppleDouble files and the folders of operating systems. Remote ones are listed by
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
from pipeline.io.storage import Storage, is_remote
from pipeline.io.versions import file_version_and_size
from pipeline.readers.apple_double import APPLE_DOUBLE, APPLE_DOUBLE_KIND, is_apple_double
from pipeline.readers.system_folders import system_folder
from pipeline.sources.braces import expand_braces
from pipeline.sources.links import LEAVING, Boundary
from pipeline.sources.listing import SourceOptions
from pipeline.sources.patterns import FileFilter, folder_of_glob
from pipeline.sources.remote_files import RemoteFile, find_remote

_THREADS = 16
_SHOWN = 3


class FoundFile(NamedTuple):
    """A file of a source.

    Attributes:
        uri: the same on every machine, without a signature.
        version: what changes when its content does.
        n_bytes: its size, where that is known.
        read_uri: the URI with its signature; empty where it has none.
    """

    uri: str
    version: str
    n_bytes: int | None
    read_uri: str = ""


class Locations:
    """The files that the locations of one format stand for.

    Args:
        locations: as a person names them: folders (walked down), files, globs (`**` crosses
            folders) and braces.
        endings: of the format, with their dots and in lower case.
        options: how to take them.
    """

    def __init__(
        self, locations: Sequence[str], endings: Sequence[str], options: SourceOptions
    ) -> None:
        self._locations = locations
        self._storage = options.storage
        self._follow_links = options.follow_links
        self._query = options.query
        self._sieve = FileFilter(options, endings)

    @property
    def skipped(self) -> Counter[str]:
        """Files passed over, by ending; links, AppleDouble and system files by what they are."""
        return self._sieve.skipped

    def files(self) -> Iterator[FoundFile]:
        """Each file; of locations that overlap in a store, more than once.

        Raises:
            UsageError: a location that does not exist, a glob that matches nothing, or a folder
                that cannot be listed.
            StoreError: a store is out of order.
        """
        self._sieve.skipped.clear()
        local = [local_path(each) for each in self._locations if not is_remote(each)]
        named = [each for location in local for each in _named(location)]
        roots = [each.root or each.path for each in named if each.root or os.path.isdir(each.path)]
        boundary = Boundary(dict.fromkeys(roots), self._follow_links)
        folders, paths = list[str](), set[str]()
        for path, below, root in named:
            if root and not boundary.lets_match(path):
                self._sieve.skipped[LEAVING] += 1
            elif os.path.isdir(path):
                folders.append(path)
            elif self._sieve.accepts(below, is_named=True):
                paths.add(os.path.abspath(path))
        paths.update(_walk(folders, self._sieve, boundary))
        for path in paths:
            if os.path.basename(path).startswith("._") and _is_local_apple_double(path):
                self._sieve.skipped[APPLE_DOUBLE_KIND] += 1
                continue
            yield FoundFile(path_to_uri(path), *file_version_and_size(path))
        doubtful = list[FoundFile]()
        for file in self._remote([each for each in self._locations if is_remote(each)]):
            if self._sieve.accepts(file.below, file.is_named):
                found = FoundFile(file.uri, file.version, file.n_bytes, file.read_uri)
                if file.below.rpartition("/")[2].startswith("._"):
                    doubtful.append(found)
                else:
                    yield found
        yield from self._without_apple_double(doubtful)

    def _without_apple_double(self, files: Sequence[FoundFile]) -> Iterator[FoundFile]:
        if not files:
            return
        with ThreadPoolExecutor(_THREADS) as pool:
            answers = pool.map(lambda file: _is_remote_apple_double(file, self._storage), files)
            for file, is_metadata in zip(files, answers, strict=True):
                if is_metadata:
                    self._sieve.skipped[APPLE_DOUBLE_KIND] += 1
                else:
                    yield file

    def _remote(self, locations: Sequence[str]) -> Iterator[RemoteFile]:
        names = [name for location in locations for name in expand_braces(location)]
        if len(names) == 1:
            yield from find_remote(names[0], self._storage, self._query)
            return
        with ThreadPoolExecutor(_THREADS) as pool:
            find = partial(find_remote, storage=self._storage, rule=self._query)
            for found in pool.map(lambda name: list(find(name)), names):
                yield from found


def find_containers(locations: Locations, kind: str) -> list[Container]:
    """The files of locations as containers of a kind, each once, in order.

    Raises:
        UsageError, StoreError: as `Locations.files`; or one has a signed URL.
    """
    found = set[Container]()
    for file in locations.files():
        if file.read_uri:
            raise UsageError(
                f"source {file.uri!r}: signed URLs are taken of single recordings only; fetch the "
                "file, or name it in its store"
            )
        found.add(Container(file.uri, file.version, kind=kind, n_bytes=file.n_bytes))
    return sorted(found)


def _is_local_apple_double(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return is_apple_double(file.read(len(APPLE_DOUBLE)))
    except OSError:  # whoever reads it says why it cannot be read
        return False


def _is_remote_apple_double(file: FoundFile, storage: Storage) -> bool:
    uri, end = file.read_uri or file.uri, len(APPLE_DOUBLE)
    if file.n_bytes is not None and file.n_bytes < end:
        return False
    files = storage.filesystem(uri)
    with contextlib.suppress(FileNotFoundError, PermissionError):
        start = storage.retry(
            f"looking at {file.uri}", lambda: files.cat_file(uri, start=0, end=end)
        )
        return is_apple_double(start)
    return False


class _Named(NamedTuple):
    """A path that a location stands for.

    Attributes:
        path: The path.
        below: The path below the source, which the patterns are compared with.
        root: Folder that the glob starts from; empty for a path that a person named in full.
    """

    path: str
    below: str
    root: str = ""


def _named(location: str) -> list[_Named]:
    """Paths that a location stands for, each with what the patterns are held against."""
    if os.path.lexists(location):
        return [_Named(location, os.path.basename(os.path.abspath(location)))]
    found: list[_Named] = []
    missing: list[str] = []
    names = expand_braces(location)
    for name in names:
        is_there = os.path.lexists(name)
        matches = [name] if is_there else glob.glob(name, recursive=True, include_hidden=True)
        root = os.path.dirname(name) + "/" if is_there else folder_of_glob(name)
        glob_root = "" if is_there else root or "."
        found += [_Named(path, path.removeprefix(root), glob_root) for path in sorted(matches)]
        if not matches:
            missing.append(name)
    if missing == [location]:
        what = "the glob matches no file" if glob.has_magic(location) else "no such file or folder"
        raise UsageError(f"source {location!r}: {what}")
    if missing:
        shown = ", ".join(repr(name) for name in missing[:_SHOWN])
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise UsageError(f"source {location!r}: no such file or folder: {shown}{more}")
    return found


def _walk(roots: Sequence[str], sieve: FileFilter, boundary: Boundary) -> Iterator[str]:
    walked: set[tuple[int, int]] = set()
    # All roots in one walk, sorted: a clip's name must not depend on which was named first.
    # Each with its root, below which the patterns look.
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
                sieve.skipped[f"{system}/"] += 1  # macOS lets nobody look into some
                continue
            raise UsageError(
                f"folder {folder!r} cannot be listed: {error.strerror}; give read permission, or "
                "name the sources without it"
            ) from error
        below: list[tuple[str, str]] = []
        for entry in entries:
            if entry.is_symlink() and not boundary.lets_through(entry.path):
                if _is_folder(entry) or sieve.accepts(os.path.relpath(entry.path, root)):
                    sieve.skipped[LEAVING] += 1
                continue
            if _is_folder(entry):
                (linked_folders if entry.is_symlink() else below).append((entry.path, root))
                continue
            if sieve.accepts(os.path.relpath(entry.path, root)):
                yield os.path.abspath(entry.path)
        real_folders.extend(reversed(below))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return stat.S_ISDIR(entry.stat().st_mode)
    except OSError:  # a link to nothing, or round in a circle
        return False

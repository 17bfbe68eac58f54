"""Folders, files and globs: every file is a clip.

Folders are walked once each, however many links lead there, and real folders before linked ones,
so a loop of links ends and a file has the name that a person would give it. From a folder the
files with an audio ending are taken, and what was passed over is counted; a file that is named,
or matched by a glob, is taken whatever its ending. Remote ones are listed by `remote_files`.
"""

import glob
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence

from pipeline.clips import ClipRef, Container, path_to_uri, uri_to_path
from pipeline.errors import UsageError
from pipeline.sources.listing import SourceOptions
from pipeline.sources.patterns import Sieve, folder_of_glob
from pipeline.sources.remote_files import remote_clips
from pipeline.storage import is_remote, is_uri
from pipeline.versions import file_version


class FilesSource:
    """Folders (walked down), files and globs (`**` crosses folders), local and remote.

    Args:
        locations: of all sources that are files.
        options: how to take them.
    """

    def __init__(self, locations: Sequence[str], options: SourceOptions) -> None:
        self._locations = locations
        self._options = options
        self._sieve = Sieve(options)

    def clips(self) -> Iterator[ClipRef]:
        """Every file once.

        Raises:
            UsageError: a source that does not exist, a glob that matches nothing, or a folder that
                cannot be listed.
            StoreError: a store is out of order.
        """
        remote = [source for source in self._locations if is_remote(source)]
        local = [_local_path(source) for source in self._locations if source not in remote]
        named = [(path, below) for source in local for path, below in _expand(source)]
        folders = [path for path, _ in named if os.path.isdir(path)]
        paths = {
            os.path.abspath(path)
            for path, below in named
            if not os.path.isdir(path) and self._sieve.takes(below, is_named=True)
        }
        paths.update(_walk(folders, self._sieve))
        for path in paths:
            yield ClipRef(path_to_uri(path), file_version(path))
        for source in remote:
            yield from remote_clips(source, self._options.storage, self._sieve)

    def containers(self) -> tuple[Container, ...]:
        """None: every file is a clip."""
        return ()

    def columns(self) -> tuple[str, ...]:
        """None: files say nothing of themselves.

        Raises:
            UsageError: the options ask for some.
        """
        if self._options.columns:
            raise UsageError(
                f"columns {', '.join(self._options.columns)}: plain files have none to carry; "
                "name a manifest, Parquet or tar files as the source"
            )
        return ()

    def skipped(self) -> Counter[str]:
        """Files without an audio ending, or not let through by the patterns; by ending."""
        return self._sieve.skipped


def _local_path(source: str) -> str:
    return uri_to_path(f"file://{source.partition('://')[2]}") if is_uri(source) else source


def _expand(source: str) -> list[tuple[str, str]]:
    """Paths that a source names, each with what the patterns are held against."""
    if os.path.lexists(source):
        return [(source, os.path.basename(os.path.abspath(source)))]
    if glob.has_magic(source):
        matches = sorted(glob.glob(source, recursive=True, include_hidden=True))
        root = folder_of_glob(source)
        if matches:
            return [(path, path.removeprefix(root)) for path in matches]
        raise UsageError(f"source {source!r}: the glob matches no file")
    raise UsageError(f"source {source!r}: no such file or folder")


def _walk(roots: Sequence[str], sieve: Sieve) -> Iterator[str]:
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
            raise UsageError(
                f"folder {folder!r} cannot be listed: {error.strerror}; give read permission, or "
                "name the sources without it"
            ) from error
        below: list[tuple[str, str]] = []
        for entry in entries:
            if _is_folder(entry):
                (linked_folders if entry.is_symlink() else below).append((entry.path, root))
                continue
            if sieve.takes(os.path.relpath(entry.path, root)):
                yield os.path.abspath(entry.path)
        real_folders.extend(reversed(below))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return stat.S_ISDIR(entry.stat().st_mode)
    except OSError:  # a link to nothing, or round in a circle
        return False

"""Folders, files and globs: every file is a clip.

Folders are walked once each, however many links lead there, and real folders before linked ones,
so a loop of links ends and a file has the name that a person would give it. From a folder the
files with an audio ending are taken, and what was passed over is counted; a file that is named,
or matched by a glob, is taken whatever its ending.
"""

import glob
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence

from pipeline.clips import ClipRef, Container, path_to_uri
from pipeline.errors import UsageError
from pipeline.sources.listing import SourceOptions
from pipeline.versions import file_version

# fmt: off
AUDIO_ENDINGS = frozenset({
    ".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".caf", ".flac",
    ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".oga", ".ogg", ".opus",
    ".rf64", ".w64", ".wav", ".wave", ".webm", ".wma", ".wv",
})
# fmt: on


class FilesSource:
    """Local folders (walked down), files and globs (`**` crosses folders).

    Args:
        locations: of all sources that are files.
        options: how to take them.
    """

    def __init__(self, locations: Sequence[str], options: SourceOptions) -> None:
        self._locations = locations
        self._options = options
        self._skipped: Counter[str] = Counter()

    def clips(self) -> Iterator[ClipRef]:
        """Every file once.

        Raises:
            UsageError: a source that does not exist, a glob that matches nothing, or a folder that
                cannot be listed.
        """
        expanded = [path for source in self._locations for path in _expand(source)]
        folders = [path for path in expanded if os.path.isdir(path)]
        paths = {os.path.abspath(path) for path in expanded if not os.path.isdir(path)}
        paths.update(_walk(folders, self._skipped))
        return (ClipRef(path_to_uri(path), file_version(path)) for path in paths)

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
        """Files in folders without an audio ending, by ending."""
        return self._skipped


def _expand(source: str) -> list[str]:
    if "://" in source:
        raise UsageError(f"source {source!r}: only local folders, files and globs can be read")
    if os.path.lexists(source):
        return [source]
    if glob.has_magic(source):
        matches = sorted(glob.glob(source, recursive=True, include_hidden=True))
        if matches:
            return matches
        raise UsageError(f"source {source!r}: the glob matches no file")
    raise UsageError(f"source {source!r}: no such file or folder")


def _walk(roots: Sequence[str], skipped: Counter[str]) -> Iterator[str]:
    walked: set[tuple[int, int]] = set()
    # All roots in one walk, sorted: a clip's name must not depend on which was named first.
    real_folders, linked_folders = list[str](), list[str]()
    for root in sorted(roots, key=os.path.abspath):
        is_real = os.path.realpath(root) == os.path.abspath(root)
        (real_folders if is_real else linked_folders).append(root)
    real_folders.reverse()
    while real_folders or linked_folders:
        folder = real_folders.pop() if real_folders else linked_folders.pop(0)
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
        below: list[str] = []
        for entry in entries:
            if _is_folder(entry):
                (linked_folders if entry.is_symlink() else below).append(entry.path)
                continue
            ending = os.path.splitext(entry.name)[1].lower()
            if ending in AUDIO_ENDINGS:
                yield os.path.abspath(entry.path)
            else:
                skipped[ending] += 1
        real_folders.extend(reversed(below))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return stat.S_ISDIR(entry.stat().st_mode)
    except OSError:  # a link to nothing, or round in a circle
        return False

"""A folder, a file or a glob to a listing of clips.

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
from dataclasses import dataclass, field

from pipeline.clips import ClipRef, path_to_uri
from pipeline.errors import UsageError

# fmt: off
AUDIO_ENDINGS = frozenset({
    ".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".caf", ".flac",
    ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".oga", ".ogg", ".opus",
    ".rf64", ".w64", ".wav", ".wave", ".webm", ".wma", ".wv",
})
# fmt: on
MISSING = "missing"


@dataclass
class Listing:
    """Clips of all sources, sorted by uri, each once.

    Attributes:
        clips: the clips.
        skipped: files passed over in folders, counted by ending.
    """

    clips: list[ClipRef] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def list_sources(sources: Sequence[str]) -> Listing:
    """List every clip of the sources, which may overlap and come in any order.

    Args:
        sources: local folders (walked down), files and globs (`**` crosses folders).

    Raises:
        UsageError: a source that does not exist, a glob that matches nothing, a folder that
            cannot be listed, or no clip at all.
    """
    listing = Listing()
    expanded = [path for source in sources for path in _expand(source)]
    folders = [path for path in expanded if os.path.isdir(path)]
    paths = {os.path.abspath(path) for path in expanded if not os.path.isdir(path)}
    paths.update(_walk(folders, listing.skipped))
    if not paths:
        raise UsageError(
            f"no audio files in {', '.join(sources)}{skipped_note(listing.skipped)}; "
            "name files or a glob to take them whatever their ending"
        )
    listing.clips = sorted(ClipRef(path_to_uri(path), file_version(path)) for path in paths)
    return listing


def skipped_note(skipped: Counter[str]) -> str:
    """What was passed over, for people: ` (skipped 12 files: .txt 10, .md 2)`, or nothing."""
    if not skipped:
        return ""
    endings = ", ".join(f"{ending or 'no ending'} {n}" for ending, n in skipped.most_common(5))
    return f" (skipped {skipped.total()} other files: {endings})"


def file_version(path: str) -> str:
    """Size and mtime of a file, which change when its content does; `missing` without a file."""
    try:
        status = os.stat(path)
    except OSError:
        return MISSING
    return stat_version(status)


def stat_version(status: os.stat_result) -> str:
    """The version that a file with this status has."""
    return f"{status.st_size}-{status.st_mtime_ns}"


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

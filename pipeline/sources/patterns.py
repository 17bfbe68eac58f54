"""Selects the files of a source by their endings and by `--include` and `--exclude`."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase

from pipeline.audio import AUDIO_ENDINGS
from pipeline.readers.system_folders import system_folder
from pipeline.sources.listing import SourceOptions
from pipeline.sources.own_tables import TABLE_KIND_PREFIX, find_table_above

_FOLDER_NAME_KIND = "names that end in /"
"""Kind under which objects of a store are counted whose name is that of a folder."""

LEFT_OUT = "left out by --include or --exclude"
"""Kind under which files are counted that only `--include` or `--exclude` keep out."""


class FileFilter:
    """A filter that accepts files of a source and counts the others.

    A pattern with a `/` is compared with the path below the source, a pattern without it with the
    file's name. `*` matches any characters, `/` included. A pattern that ends in `/`, as `folder/`,
    matches everything below that folder.

    Args:
        options: Options with the `include` and `exclude` patterns.
        endings: Endings that files found in folders must have, in lower case with their dots.

    Attributes:
        skipped: Number of files that were not accepted, by ending or kind.
    """

    def __init__(self, options: SourceOptions, endings: Sequence[str] = AUDIO_ENDINGS) -> None:
        self._include = options.include
        self._exclude = options.exclude
        self._endings = tuple(endings)
        self.skipped: Counter[str] = Counter()
        self._system_folders: dict[str, str] = {}

    def accepts(self, below: str, is_named: bool = False) -> bool:
        """Return whether a file is accepted; count it in `skipped` if it is not.

        Args:
            below: Path of the file below the source, with `/`.
            is_named: Whether the user named the file, or a glob matched it. Any ending is then
                accepted.
        """
        if below.endswith("/"):
            self.skipped[_FOLDER_NAME_KIND] += 1
            return False
        if system := self._find_system_folder(below):
            self.skipped[f"{system}/"] += 1
            return False
        if (table := find_table_above(below)) is not None:
            self.skipped[f"{TABLE_KIND_PREFIX}{table}"] += 1
            return False
        # The first character is left out, as `.wav` is a hidden file without an ending.
        name = os.path.basename(below)[1:].lower()
        if not (is_named or name.endswith(self._endings)):
            self.skipped[os.path.splitext(below)[1].lower()] += 1
            return False
        is_included = (
            not self._include or any(_matches(below, each) for each in self._include)
        ) and not any(_matches(below, each) for each in self._exclude)
        if not is_included:
            self.skipped[LEFT_OUT] += 1
        return is_included

    def _find_system_folder(self, below: str) -> str:
        """Return the system folder that a file lies in, or ""; searched once per folder."""
        folder = below.rpartition("/")[0]
        if not folder:
            return ""
        if folder not in self._system_folders:
            self._system_folders[folder] = system_folder(folder)
        return self._system_folders[folder]


def _matches(below: str, pattern: str) -> bool:
    if "/" not in pattern:
        return fnmatchcase(below.rpartition("/")[2], pattern)
    pattern = pattern.removeprefix("./").removeprefix("/")
    return fnmatchcase(below, f"{pattern}*" if pattern.endswith("/") else pattern)


def glob_root(pattern: str) -> str:
    """Return the folder above a glob's first wildcard, with its `/`: `a/b/` for `a/b/c*/d`."""
    fixed = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return fixed[: fixed.rfind("/") + 1]

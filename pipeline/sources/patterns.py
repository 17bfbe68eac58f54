"""Which files of a folder are taken: those of the right endings that the patterns let through."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase

from pipeline.audio import AUDIO_ENDINGS
from pipeline.readers.system_folders import system_folder
from pipeline.sources.listing import SourceOptions
from pipeline.sources.own_tables import KIND, table_above

# fmt: on

_NO_NAME = "names that end in /"
"""What objects of a store are counted as that have the name of a folder and are not empty."""

LEFT_OUT = "left out by --include or --exclude"
"""Kind under which files are counted that only the patterns keep out."""


class FileFilter:
    """Takes files and counts those that it passes over, by ending.

    A pattern with a `/` is held against the path below the source, one without against the name
    alone; `*` stands for anything, `/` too, and `folder/` for all that lies in it.

    Args:
        options: with the patterns.
        endings: that files in folders must have, lower case.
    """

    def __init__(self, options: SourceOptions, endings: Sequence[str] = AUDIO_ENDINGS) -> None:
        self._include = options.include
        self._exclude = options.exclude
        self._endings = tuple(endings)
        self.skipped: Counter[str] = Counter()
        self._system_folders: dict[str, str] = {}

    def accepts(self, below: str, is_named: bool = False) -> bool:
        """Whether a file is taken; it is counted where it is not.

        Args:
            below: its path below the source, with `/`.
            is_named: by a person, or by a glob: its ending does not matter.
        """
        if below.endswith("/"):
            self.skipped[_NO_NAME] += 1
            return False
        if system := self._system_folder(below):
            self.skipped[f"{system}/"] += 1
            return False
        if (table := table_above(below)) is not None:
            self.skipped[f"{KIND}{table}"] += 1
            return False
        # Without its first character: `.wav` is a hidden file without an ending.
        name = os.path.basename(below)[1:].lower()
        if not (is_named or name.endswith(self._endings)):
            self.skipped[os.path.splitext(below)[1].lower()] += 1
            return False
        is_let_through = (
            not self._include or any(_fits(below, each) for each in self._include)
        ) and not any(_fits(below, each) for each in self._exclude)
        if not is_let_through:
            self.skipped[LEFT_OUT] += 1
        return is_let_through

    def _system_folder(self, below: str) -> str:
        """The system folder that a file lies in; looked for once per folder."""
        folder = below.rpartition("/")[0]
        if not folder:
            return ""
        if folder not in self._system_folders:
            self._system_folders[folder] = system_folder(folder)
        return self._system_folders[folder]


def _fits(below: str, pattern: str) -> bool:
    if "/" not in pattern:
        return fnmatchcase(below.rpartition("/")[2], pattern)
    pattern = pattern.removeprefix("./").removeprefix("/")
    return fnmatchcase(below, f"{pattern}*" if pattern.endswith("/") else pattern)


def folder_of_glob(pattern: str) -> str:
    """The folder that a glob starts from, with its `/`: `a/b/` of `a/b/c*/d`."""
    fixed = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return fixed[: fixed.rfind("/") + 1]

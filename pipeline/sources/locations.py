"""Where the files of a format lie: braces, globs and folders, here and in stores, to files.

A file that is named, or matched by a glob, is taken whatever its ending; of a folder those with an
ending of the format are, and the others are counted.
"""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from typing import Any

from pipeline.clips import path_to_uri, uri_to_path
from pipeline.containers import is_remote, object_version
from pipeline.errors import UsageError
from pipeline.sources.braces import expand_braces
from pipeline.sources.listing import SourceOptions
from pipeline.storage import is_uri, protocol_of
from pipeline.versions import file_version

_THREADS = 16
_SHOWN = 3


class Locations:
    """The files that the locations of one format stand for.

    Args:
        locations: as a person names them.
        endings: of the format, with their dots and in lower case.
        options: how to take them.

    Attributes:
        skipped: files in folders that are not of the format, by ending.
    """

    def __init__(
        self, locations: Iterable[str], endings: Iterable[str], options: SourceOptions
    ) -> None:
        self._locations = locations
        self._endings = tuple(endings)
        self._options = options
        self.skipped: Counter[str] = Counter()

    def files(self) -> dict[str, str]:
        """Version of each file, by its URI, in order.

        Raises:
            UsageError: a location that does not exist, or a glob that matches nothing.
            StoreError: a store does not answer.
        """
        self.skipped.clear()
        found: dict[str, str] = {}
        for location in self._locations:
            listed = self._remote if is_remote(location) else self._local
            found.update(listed(location))
        return dict(sorted(found.items()))

    def _local(self, location: str) -> Iterator[tuple[str, str]]:
        named = uri_to_path(location)
        for path in _existing(named, [named] if os.path.lexists(named) else expand_braces(named)):
            below = self._below(path) if os.path.isdir(path) else [path]
            for file in below:
                yield path_to_uri(file), file_version(file)

    def _below(self, folder: str) -> Iterator[str]:
        walked = set[str]()
        for parent, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
            if (real := os.path.realpath(parent)) in walked:
                folders.clear()
                continue
            walked.add(real)
            folders.sort()
            for name in sorted(files):
                path = os.path.join(parent, name)
                if self._takes(os.path.relpath(path, folder)):
                    yield path

    def _takes(self, relative: str) -> bool:
        include, exclude = self._options.include, self._options.exclude
        if not relative.lower().endswith(self._endings):
            self.skipped[os.path.splitext(relative)[1].lower()] += 1
            return False
        return (not include or any(fnmatchcase(relative, each) for each in include)) and not any(
            fnmatchcase(relative, each) for each in exclude
        )

    def _remote(self, location: str) -> Iterator[tuple[str, str]]:
        names = expand_braces(location)
        with ThreadPoolExecutor(_THREADS) as pool:
            found = list(pool.map(self._infos, names))
        _refuse_missing(location, [n for n, infos in zip(names, found, strict=True) if not infos])
        for info in (info for infos in found for info in infos):
            yield _uri(location, info), object_version(info)

    def _infos(self, name: str) -> list[dict[str, Any]]:
        """What the store says of the files that one name stands for."""
        filesystem = self._options.storage.filesystem(name)

        def call() -> list[dict[str, Any]]:
            if glob.has_magic(name):
                found = filesystem.glob(name, detail=True)
                return [info for info in found.values() if info["type"] == "file"]
            info = filesystem.info(name)
            if info["type"] == "file":
                return [info]
            top = _uri(name, info).rstrip("/") + "/"
            below = filesystem.find(name, detail=True).values()
            return [each for each in below if self._takes(_uri(name, each).removeprefix(top))]

        try:
            return self._options.storage.tried(f"listing {name}", call)
        except FileNotFoundError:
            return []
        except PermissionError as error:
            said = self._options.storage.redacted(str(error))
            raise UsageError(f"source {name!r}: no permission to list it ({said})") from error


def _uri(location: str, info: dict[str, Any]) -> str:
    name = str(info["name"])
    return name if is_uri(name) else f"{protocol_of(location)}://{name.lstrip('/')}"


def _existing(location: str, names: list[str]) -> Iterator[str]:
    missing: list[str] = []
    for name in names:
        if os.path.lexists(name):
            yield name
            continue
        matches = sorted(glob.glob(name, recursive=True, include_hidden=True))
        yield from matches
        if not matches:
            missing.append(name)
    _refuse_missing(location, missing)


def _refuse_missing(location: str, missing: list[str]) -> None:
    if missing:
        shown = ", ".join(repr(name) for name in missing[:_SHOWN])
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise UsageError(f"source {location!r}: no such file or folder: {shown}{more}")


def _refuse(error: OSError) -> None:
    raise UsageError(
        f"folder {error.filename!r} cannot be listed: {error.strerror}; give read permission, or "
        "name the sources without it"
    ) from error

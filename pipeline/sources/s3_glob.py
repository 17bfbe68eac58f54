"""Globs over S3, expanded level by level.

Each request lists only the keys that start with the fixed part of a name, up to its first wildcard.
s3fs lists whole folders from the second level on, which takes one request per thousand objects.
"""

import re
from collections.abc import Iterator
from typing import Any

from fsspec.utils import glob_translate

Info = dict[str, Any]
_WILDCARD = re.compile(r"[*?\[]")


def glob_levels(files: Any, pattern: str) -> dict[str, Info] | None:
    """Return the files and folders that a glob matches, as fsspec infos by name.

    A glob with `**`, with a wildcard in the bucket or with an empty level cannot be expanded level
    by level; the result is then None.

    Args:
        files: The filesystem of s3fs.
        pattern: The glob, without its scheme.

    Raises:
        PermissionError: A level may not be listed.
    """
    bucket, *parts = pattern.split("/")
    if "**" in pattern or _WILDCARD.search(bucket) or "" in parts:
        return None
    found: dict[str, Info] = {bucket: {"name": bucket, "type": "directory"}}
    while parts:
        n_fixed = next((i for i, part in enumerate(parts) if _WILDCARD.search(part)), len(parts))
        fixed, rest = parts[:n_fixed], parts[n_fixed:]
        folders = [
            "/".join((name, *fixed)) for name, info in found.items() if info["type"] == "directory"
        ]
        if not rest:
            return dict(_find_infos(files, folders))
        found = {
            info["name"]: info
            for folder in folders
            for info in _list_matches(files, folder, rest[0])
        }
        parts = rest[1:]
    return found


def _list_matches(files: Any, folder: str, part: str) -> Iterator[Info]:
    prefix = part[: _WILDCARD.search(part).start()]  # type: ignore[union-attr]
    matches = re.compile(glob_translate(part)).fullmatch
    try:
        if prefix:
            infos = files.find(folder, maxdepth=1, withdirs=True, detail=True, prefix=prefix)
            infos = infos.values()
        else:
            infos = files.ls(folder, detail=True)
    except FileNotFoundError:
        return
    for info in infos:
        below = info["name"].removeprefix(f"{folder}/")
        if below != info["name"] and matches(below):
            yield info


def _find_infos(files: Any, names: list[str]) -> Iterator[tuple[str, Info]]:
    for name in names:
        try:
            yield name, files.info(name)
        except FileNotFoundError:
            continue

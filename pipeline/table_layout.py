"""Names of the folders and files of a table."""

from __future__ import annotations

import re

META_DIR = "_passtream"
TEMP_DIR = f"{META_DIR}/tmp"  # noqa: S108 (in the table, not in /tmp)
_SHARD = "[0-9a-f]{32}"
_IS_SHARD_FILE = re.compile(rf"({_SHARD})\.(?:parquet|json)")
# Both forms exist: the local store and the remote stores name temporary files differently.
_IS_TEMP = re.compile(
    rf"(?:(?:clips|windows|timestamps|errors)_{_SHARD}\.parquet|{META_DIR}_\w+\.json)\.\w{{8}}|{_SHARD}"
)


def shard_of(name: str) -> str | None:
    """Return the id of the shard that a file belongs to, or None if the name is not a shard's.

    Args:
        name: File name without its folder.
    """
    match = _IS_SHARD_FILE.fullmatch(name)
    return match[1] if match else None


def is_temp_name(name: str) -> bool:
    """Return whether a file in `TEMP_DIR` has a name that only a run creates.

    Args:
        name: File name without its folder.
    """
    return _IS_TEMP.fullmatch(name) is not None


SPEC_NAME = f"{META_DIR}/table.json"
COMMITS_DIR = f"{META_DIR}/commits"
DATA_DIRS = ("clips", "windows", "timestamps", "errors")


def commit_name(shard: str) -> str:
    """Return the path of a shard's commit record within the table."""
    return f"{COMMITS_DIR}/{shard}.json"


def data_name(table: str, shard: str) -> str:
    """Return the path of a shard's file of rows within the table."""
    return f"{table}/{shard}.parquet"

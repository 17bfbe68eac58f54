"""The version of a file: a text that changes when the file's content changes."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

MISSING = "missing"

_ETAGS = ("ETag", "etag", "md5Hash", "content_md5")
_TIMES = (
    "LastModified",
    "Last-Modified",
    "last_modified",
    "updated",
    "mtime",
    "modified",
    "modificationTime",
    "created",
)


def file_version(path: str) -> str:
    """Return the version of a local file, or `missing` if it does not exist."""
    return file_version_and_size(path)[0]


def file_version_and_size(path: str) -> tuple[str, int | None]:
    """Return version and size in bytes of a local file; `missing` and None without a file."""
    try:
        status = os.stat(path)
    except OSError:
        return MISSING, None
    return stat_version(status), status.st_size


def stat_version(status: os.stat_result) -> str:
    """Return the version of a local file with this status: its size and mtime."""
    return f"{status.st_size}-{status.st_mtime_ns}"


def info_version(info: Mapping[str, Any]) -> str:
    """Return the version of a remote file, the same from a listing and from a single request.

    It is the etag, if there is one; otherwise size and modification time, as far as known.

    Args:
        info: Properties of the file, as its fsspec filesystem returns them.
    """
    for name in _ETAGS:
        if etag := info.get(name):
            return str(etag).removeprefix("W/").strip('"')
    written = next((_as_text(info[name]) for name in _TIMES if info.get(name)), "")
    return f"{info.get('size')}-{written}"


def _as_text(time: Any) -> str:
    # A listing may give seconds where a request for one file gives a datetime.
    if isinstance(time, datetime):
        time = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    return f"{time:.6f}" if isinstance(time, int | float) else str(time)

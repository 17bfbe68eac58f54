"""The version of a file: what changes when its content does."""

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
    """Size and mtime of a file; `missing` without a file."""
    return file_version_and_size(path)[0]


def file_version_and_size(path: str) -> tuple[str, int | None]:
    """The version of a file, and its size in bytes; None without a file."""
    try:
        status = os.stat(path)
    except OSError:
        return MISSING, None
    return stat_version(status), status.st_size


def stat_version(status: os.stat_result) -> str:
    """The version that a file with this status has."""
    return f"{status.st_size}-{status.st_mtime_ns}"


def info_version(info: Mapping[str, Any]) -> str:
    """The version of a remote file, the same from a listing and from a look at it alone.

    Its etag; else its size and when it was written, as far as these are known.

    Args:
        info: what its filesystem says of it.
    """
    for name in _ETAGS:
        if etag := info.get(name):
            return str(etag).removeprefix("W/").strip('"')
    written = next((_as_text(info[name]) for name in _TIMES if info.get(name)), "")
    return f"{info.get('size')}-{written}"


def _as_text(time: Any) -> str:
    # Listings have seconds where a look at one file has a datetime.
    if isinstance(time, datetime):
        time = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    return f"{time:.6f}" if isinstance(time, int | float) else str(time)

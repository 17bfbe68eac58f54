"""The version of a file: what changes when its content does."""

import os
from collections.abc import Mapping
from typing import Any

MISSING = "missing"


def file_version(path: str) -> str:
    """Size and mtime of a file; `missing` without a file."""
    try:
        status = os.stat(path)
    except OSError:
        return MISSING
    return stat_version(status)


def stat_version(status: os.stat_result) -> str:
    """The version that a file with this status has."""
    return f"{status.st_size}-{status.st_mtime_ns}"


def info_version(info: Mapping[str, Any]) -> str:
    """The version of a remote file, from what its filesystem says of it.

    Its etag; else its size and when it was written, as far as these are known.
    """
    for name in ("ETag", "etag", "md5Hash", "content_md5"):
        if etag := info.get(name):
            return str(etag).strip('"')
    times = ("LastModified", "last_modified", "updated", "mtime", "created")
    written = next((info[name] for name in times if info.get(name)), "")
    return f"{info.get('size')}-{written}"

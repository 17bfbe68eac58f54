"""The version of a local file: what changes when its content does."""

import os

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

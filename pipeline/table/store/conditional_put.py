"""Creating a file that nobody else has created: how each remote store says that it is there.

fsspec's own exclusive mode checks and then writes, which lets two writers through; only the stores
below pass the condition on. Whether a server honours it is another matter: `refuses_to_overwrite`
asks it.
"""

import errno
from collections.abc import Callable
from typing import Any

CONDITIONAL = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"}
"""Protocols whose filesystem creates exclusively in one request (memory: under a lock of ours)."""
_CONDITION_FAILED = 412
_NOT_IMPLEMENTED = 501


class NoConditionError(Exception):
    """The store knows no conditional put."""


def create(filesystem: Any, path: str, content: bytes) -> None:
    """Create a file, whole, in one conditional request.

    Raises:
        FileExistsError: it is there.
        NoConditionError: the store says that it does not know the condition.
        Exception: whatever else the store says.
    """
    try:
        filesystem.pipe_file(path, content, mode="create")
    except FileExistsError:
        raise
    except Exception as error:
        status = _status(error)
        if status == _CONDITION_FAILED:
            raise FileExistsError(path) from error
        is_unknown = isinstance(error, NotImplementedError) or (
            isinstance(error, OSError) and error.errno == errno.ENOSYS
        )
        if is_unknown or status == _NOT_IMPLEMENTED:
            raise NoConditionError(str(error)) from error
        raise


def refuses_to_overwrite(create: Callable[[], None]) -> bool:
    """Whether a store that takes the condition also keeps to it.

    Args:
        create: creates one certain file; it may be there already, and it stays.
    """
    try:
        for _ in range(2):
            create()
    except FileExistsError:
        return True
    except NoConditionError:
        return False
    return False


def _status(error: BaseException | None) -> int | None:
    """The HTTP status behind an error: botocore keeps it in a response, the others as a number."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        else:
            found = getattr(error, "status_code", None) or getattr(error, "code", None)
        if isinstance(found, int):
            return found
        error = error.__cause__
    return None

"""Conditional puts: creating a file only if it does not exist, on each kind of remote store.

For most stores fsspec's exclusive mode checks and then writes, which lets two writers through. Only
the protocols below pass the condition on to the server. A server may still ignore it, so
`refuses_to_overwrite` tests it.
"""

import errno
from collections.abc import Callable
from typing import Any

CONDITIONAL = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"}
"""Protocols whose filesystem creates exclusively in one request (memory: under our own lock)."""
_CONDITION_FAILED = 412
_NOT_IMPLEMENTED = 501


class NoConditionError(Exception):
    """The store has no conditional put."""


def create(filesystem: Any, path: str, content: bytes) -> None:
    """Create a file, whole, in one conditional request.

    Raises:
        FileExistsError: The file exists.
        NoConditionError: The store reports that it does not know the condition.
        Exception: Any other error of the store.
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
    """Return whether a store that accepts the condition also honours it.

    Args:
        create: Creates one certain file; it may exist already, and it stays.
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
    """Return the HTTP status of an error: botocore has it in a response, others as a number."""
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

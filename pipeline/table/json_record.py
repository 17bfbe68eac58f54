"""Records of a table, read as strictly as they were written."""

from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import StoreError

T = TypeVar("T")


def from_json(adapter: TypeAdapter[T], content: bytes, what: str) -> T:
    """Read a record.

    Args:
        adapter: of its type. Made once: to make it takes longer than to read a hundred records.
        content: JSON.
        what: it is to be, for the message: `a commit record`.

    Raises:
        StoreError: it is not that.
    """
    try:
        return adapter.validate_json(content)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise StoreError(f"not {what}: {where} {problem['msg']}") from error

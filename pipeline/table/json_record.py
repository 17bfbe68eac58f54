"""Strict reading of the JSON records of a table."""

from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from pipeline.errors import StoreError

T = TypeVar("T")


def from_json(adapter: TypeAdapter[T], content: bytes, what: str) -> T:
    """Read a record.

    Args:
        adapter: Adapter of the record's type. Make it once: it takes longer than reading a hundred
            records.
        content: JSON text.
        what: Name of the record for messages, such as `a commit record`.

    Raises:
        StoreError: The content is not such a record.
    """
    try:
        return adapter.validate_json(content)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise StoreError(f"not {what}: {where} {problem['msg']}") from error

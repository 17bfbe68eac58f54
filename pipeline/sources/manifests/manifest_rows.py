"""The numbered rows of a manifest, independent of the format that it is written in."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.errors import UsageError

RowValues = tuple[object, ...]
"""Values of one row, one per requested column; None for a missing value."""


@dataclass(frozen=True, slots=True)
class ManifestRows:
    """The rows of one manifest.

    Attributes:
        name: Path or URI of the manifest as messages show it.
        unit: Unit in which rows are numbered from 1: `line`, `item` or `row`.
        columns: Names of all columns, in the manifest's order.
        read: Function that yields all rows, each with its number, from the first row at every call.
            It is called with the names of the columns to read and raises UsageError.
        hint: End of a message about missing columns; empty for none.
    """

    name: str
    unit: str
    columns: tuple[str, ...]
    read: Callable[[Sequence[str]], Iterator[tuple[int, RowValues]]]
    hint: str = ""

    def describe_row(self, number: int) -> str:
        """Return the name of the manifest and the number of a row, for messages."""
        return f"manifest {self.name!r}, {self.unit} {number}"


def unreadable_manifest(name: str, reason: str) -> UsageError:
    """Return the error for a manifest that is damaged or not of its format.

    Args:
        name: Name of the manifest.
        reason: Why the manifest cannot be read.
    """
    return UsageError(f"manifest {name!r} cannot be read: {reason}")


def check_unique_columns(name: str, columns: Sequence[str]) -> None:
    """Raise UsageError if two columns of a manifest have the same name.

    Args:
        name: Name of the manifest.
        columns: Names of its columns.

    Raises:
        UsageError: A name occurs more than once.
    """
    if repeated := sorted({column for column in columns if columns.count(column) > 1}):
        raise UsageError(f"manifest {name!r}: has column {repeated[0]!r} more than once")

"""Where a table lies: what every kind of store gives to it, in the same words.

A file of a table appears whole or not at all, and one that decides something (the spec, a commit)
has one writer who created it. Each store keeps these two promises in its own way; one contract
suite (`tests/contracts/test_table_stores.py`) holds all of them to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipeline.table.store.hold import Hold
from pipeline.table.store.process_id import Process

if TYPE_CHECKING:
    import pyarrow as pa  # takes long to import, and a name of a file needs none of it


def ignore(*_: object) -> None:
    """Take no notice."""


class TableStore(Protocol):
    """Files of one table; names are relative to it, with `/`."""

    @property
    def location(self) -> str:
        """The table's absolute path or URI: opens the same table in any process."""

    @property
    def has_conditional_put(self) -> bool:
        """Whether `put_if_absent` has one winner however many try at once."""

    def notes(self) -> list[str]:
        """What whoever writes here has to know, a line each."""

    def locate(self, name: str) -> str:
        """Where a file is, for messages."""

    def entries(self) -> list[str]:
        """Names of what lies directly in the place; empty where there is nothing.

        Raises:
            UsageError: the place is a file, or there is no such bucket.
        """

    def create(self, folders: tuple[str, ...]) -> None:
        """Make the table's folders; a table that is there stays as it is.

        Raises:
            UsageError: the place cannot be written to.
        """

    def names(self, folder: str) -> dict[str, int]:
        """Files of a folder and their sizes in bytes; empty where there is no such folder."""

    def size(self, name: str) -> int | None:
        """Size of a file in bytes, None where it is not there."""

    def read(self, name: str) -> bytes | None:
        """Content of a small file, None where it is not there."""

    def read_many(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Names with their contents, in order, as `read` gives them."""

    def open(self, name: str) -> pa.NativeFile:
        """A file for reading, seekable and a context manager; OSError where it is not there."""

    def replacing(self, name: str) -> AbstractContextManager[Path]:
        """A local path to write to; at the end of the block it becomes `name`, whole and durable.

        Where the block is left with an error, `name` is as it was.

        Raises:
            StoreError: the store refused, or was out of order for too long.
        """

    def put_if_absent(self, name: str, content: bytes) -> bool:
        """Create a file; False, and no change, where one with another content is there.

        Contents of different writers have to differ: that is how a writer whose reply was lost
        knows its own.
        """

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""

    def lock(
        self, say: Callable[[str], None] = ignore, on_lost: Callable[[], None] = ignore
    ) -> AbstractContextManager[Hold]:
        """Hold the table for writing; also clears what a killed run left half-written.

        Args:
            say: Called with what is waited for.
            on_lost: Called from another thread if another run takes the table meanwhile.

        Returns:
            The hold, which every process of the run can check by `taken_by`.

        Raises:
            UsageError: Another run holds it; the message says which.
            LostTableError: At the end, where another run has taken it.
        """

    def taken_by(self, hold: Hold) -> str | None:
        """Return who has the table in place of a hold, for messages; None while the hold counts.

        Args:
            hold: Hold that is checked; one small request to a remote store.

        Raises:
            StoreError: The store is unavailable.
        """

    def writer(self) -> Process | None:
        """Who holds the table for writing, as far as can be told from here; takes nothing.

        None where nobody does, or where this store cannot say.
        """

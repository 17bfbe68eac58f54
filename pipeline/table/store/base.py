"""The protocol of a store, which holds the files of one table.

A file of a table appears whole or not at all. A file that decides something (the spec, a commit) is
created by one writer and never overwritten by another. Each store keeps these two promises in its
own way; `tests/contracts/test_table_stores.py` tests all stores for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipeline.table.store.hold import Hold
from pipeline.table.store.process_id import Process

if TYPE_CHECKING:
    import pyarrow as pa  # takes long to import, and file names do not need it


def ignore(*_: object) -> None:
    """Ignore all arguments."""


class TableStore(Protocol):
    """Files of one table; names are relative to it, with `/`."""

    @property
    def location(self) -> str:
        """Absolute path or URI of the table; it opens the same table in any process."""

    @property
    def has_conditional_put(self) -> bool:
        """Whether `put_if_absent` has exactly one winner among concurrent writers."""

    def notes(self) -> list[str]:
        """Return notes on the store that a writer has to know, one line each."""

    def locate(self, name: str) -> str:
        """Return the path or URI of a file, for messages."""

    def entries(self) -> list[str]:
        """Return the names of the entries at the table's location; empty where there are none.

        Raises:
            UsageError: The location is a file, or the bucket does not exist.
        """

    def create(self, folders: tuple[str, ...]) -> None:
        """Create the table's folders; an existing table stays as it is.

        Raises:
            UsageError: The location cannot be written to.
        """

    def names(self, folder: str) -> dict[str, int]:
        """Return the files of a folder with their sizes in bytes; empty for a missing folder."""

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes; None for a missing file."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a small file; None for a missing file."""

    def read_many(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield names with their contents, in order; see `read`."""

    def open(self, name: str) -> pa.NativeFile:
        """Open a file for reading, seekable; raise OSError for a missing file."""

    def replacing(self, name: str) -> AbstractContextManager[Path]:
        """Open a local path for writing; at the end of the block it replaces `name`, whole.

        The file is durable then. If the block is left with an error, `name` is as it was.

        Raises:
            StoreError: The store refused, or was unavailable for too long.
        """

    def put_if_absent(self, name: str, content: bytes) -> bool:
        """Create a file; return False, without a change, if it exists with other content.

        Contents of different writers must differ, so that a writer whose reply was lost recognises
        its own file.
        """

    def delete(self, name: str) -> None:
        """Delete a file, if it exists."""

    def lock(
        self, say: Callable[[str], None] = ignore, on_lost: Callable[[], None] = ignore
    ) -> AbstractContextManager[Hold]:
        """Hold the table for writing; also delete the half-written files of a killed run.

        Args:
            say: Called with a message while the call waits for another run.
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
        """Return the process that holds the table for writing, as far as this store shows it.

        None where no process holds it, or the store cannot show it.
        """

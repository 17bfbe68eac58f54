"""Parquet and Arrow files with audio inside: runs of row groups, or whole files, are containers."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING

from pipeline.clips import ClipRef, Container
from pipeline.errors import UsageError
from pipeline.sources.listing import SourceOptions
from pipeline.sources.locations import Locations, find_containers

if TYPE_CHECKING:
    # Not before it is needed: the command line asks for the formats alone, and pyarrow is slow.
    from pipeline.readers.parquet_layout import Layout

KIND = "parquet"
PARQUET_ENDINGS = (".parquet", ".arrow", ".feather")
_THREADS = 16


class ParquetSource:
    """Parquet and Arrow files, here or in a store: files, globs, braces and folders of them.

    Args:
        locations: of all sources that are such.
        options: how to take them.
    """

    def __init__(self, locations: Sequence[str], options: SourceOptions) -> None:
        self._options = options
        self._locations = Locations(locations, PARQUET_ENDINGS, options)

    def clips(self) -> tuple[ClipRef, ...]:
        """None: rows are known as those of their containers."""
        return ()

    def containers(self) -> list[Container]:
        """Runs of row groups, and whole Arrow files; whole as well those that cannot be read.

        Raises:
            UsageError: a location that does not exist, no file that can be read, or one in which
                the column of the audio cannot be told.
            StoreError: a store does not answer.
        """
        return [container for file in self._layouts for container in file.containers]

    def columns(self) -> tuple[str, ...]:
        """Those asked for; a file that lacks one has nulls.

        Raises:
            UsageError: none of the files has one of them; or as `containers`.
            StoreError: a store does not answer.
        """
        there = dict.fromkeys(name for file in self._layouts for name in file.columns)
        if self._options.columns is None and self._options.table_columns is not None:
            return self._options.known(tuple(there))
        wanted = self._options.columns or ()
        for name in wanted:
            if name not in there:
                raise UsageError(
                    f"columns: no Parquet or Arrow file of the source has a column {name!r}; there "
                    f"are: {', '.join(there)}"
                )
        return wanted

    def skipped(self) -> Counter[str]:
        """Files in folders that are of another format, by ending."""
        return self._locations.skipped

    def notes(self) -> list[str]:
        """Return no sentences: there is nothing to add to the counts."""
        return []

    @cached_property
    def _layouts(self) -> "list[Layout]":
        from pipeline.readers.parquet_layout import layout

        files = list(find_containers(self._locations, KIND))
        storage, column = self._options.storage, self._options.audio_column
        with ThreadPoolExecutor(_THREADS) as pool:
            layouts = list(pool.map(lambda file: layout(file, storage, column), files))
        if layouts and not any(file.columns for file in layouts):
            raise UsageError(layouts[0].problem)
        return layouts

"""The `parquet` format: Parquet and Arrow files that hold audio in their rows.

A container is a run of row groups of a Parquet file, or a whole file.
"""

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
    # pyarrow takes long to import, and the command line needs nothing but the names of formats.
    from pipeline.readers.parquet_layout import Layout

KIND = "parquet"
"""Kind of the containers, which selects their reader."""
PARQUET_ENDINGS = (".parquet", ".arrow", ".feather")
_THREADS = 16


class ParquetSource:
    """A source of Parquet and Arrow files, local or remote.

    Args:
        locations: Files, globs, names with braces, and folders as the user named them.
        options: Options for all sources.
    """

    def __init__(self, locations: Sequence[str], options: SourceOptions) -> None:
        self._options = options
        self._locations = Locations(locations, PARQUET_ENDINGS, options)

    def clips(self) -> tuple[ClipRef, ...]:
        """Return no clips: those of a file are known once its rows have been read."""
        return ()

    def containers(self) -> list[Container]:
        """Return the runs of row groups of Parquet files, and Arrow files as a whole.

        A file that cannot be read is a container as a whole, which ends in `errors`.

        Raises:
            UsageError: A location does not exist, no file can be read, or the audio column of a
                file is missing or ambiguous.
            StoreError: A store is unavailable.
        """
        return [container for file in self._layouts for container in file.containers]

    def columns(self) -> tuple[str, ...]:
        """Return the columns that the options ask for; a file without one of them has nulls.

        Without any, these are the columns that the table carries already and the files have. For a
        new table there are none.

        Raises:
            UsageError: No file has one of the columns; or any error of `containers`.
            StoreError: A store is unavailable.
        """
        available = dict.fromkeys(name for file in self._layouts for name in file.columns)
        if self._options.columns is None and self._options.table_columns is not None:
            return self._options.default_columns(tuple(available))
        wanted = self._options.columns or ()
        for name in wanted:
            if name not in available:
                raise UsageError(
                    f"columns: no Parquet or Arrow file of the source has a column {name!r}; there "
                    f"are: {', '.join(available)}"
                )
        return wanted

    def skipped(self) -> Counter[str]:
        """Return the number of files in folders that are of other formats, by ending or kind."""
        return self._locations.skipped

    def notes(self) -> list[str]:
        """Return no notes: there is nothing to add to the counts."""
        return []

    @cached_property
    def _layouts(self) -> "list[Layout]":
        from pipeline.readers.parquet_layout import read_layout

        files = list(find_containers(self._locations, KIND))
        storage, column = self._options.storage, self._options.audio_column
        with ThreadPoolExecutor(_THREADS) as pool:
            layouts = list(pool.map(lambda file: read_layout(file, storage, column), files))
        if layouts and not any(file.columns for file in layouts):
            raise UsageError(layouts[0].problem)
        return layouts

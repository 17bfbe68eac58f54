"""The `tar` format: each tar, from WebDataset or not, is a container that is read in one pass."""

from collections import Counter
from collections.abc import Sequence

from pipeline.clips import ClipRef, Container
from pipeline.readers.tar.reader import DEFAULT_COLUMNS, TAR_ENDINGS, text_endings
from pipeline.sources.listing import SourceOptions
from pipeline.sources.locations import Locations, find_containers

KIND = "tar"
"""Kind of the containers, which selects their reader."""
_MAX_PEEKED_TARS = 8
"""Most tars that are opened to find the columns."""


class TarSource:
    """A source of tar files, plain or compressed, local or remote.

    Args:
        locations: Files, globs, names with braces, and folders as the user named them.
        options: Options for all sources.
    """

    def __init__(self, locations: Sequence[str], options: SourceOptions) -> None:
        self._options = options
        self._locations = Locations(locations, TAR_ENDINGS, options)
        self._containers: tuple[Container, ...] | None = None

    def clips(self) -> tuple[ClipRef, ...]:
        """Return no clips: those of a tar are known once it has been read."""
        return ()

    def containers(self) -> tuple[Container, ...]:
        """Return one container per tar.

        Raises:
            UsageError: A location does not exist.
            StoreError: A store is unavailable.
        """
        if self._containers is None:
            self._containers = tuple(find_containers(self._locations, KIND))
        return self._containers

    def columns(self) -> tuple[str, ...]:
        """Return the endings of the members whose text is carried.

        These are the columns that the options ask for, whether or not the tars have such members.
        Without any, they are the columns that the table carries already. For a new table they are
        `json`, `txt` and `cls`, as far as the first readable tar has them in its first samples.

        Raises:
            UsageError: A location does not exist.
            StoreError: A store is unavailable.
        """
        if self._options.columns is not None:
            return self._options.columns
        if self._options.table_columns is not None:
            return self._options.table_columns
        for tar in self.containers()[:_MAX_PEEKED_TARS]:
            found = text_endings(tar, self._options.storage)
            if found is not None:
                return tuple(ending for ending in DEFAULT_COLUMNS if ending in found)
        return ()

    def skipped(self) -> Counter[str]:
        """Return the number of files in folders that are not tars, by ending or kind."""
        return self._locations.skipped

    def notes(self) -> list[str]:
        """Return no notes: there is nothing to add to the counts."""
        return []

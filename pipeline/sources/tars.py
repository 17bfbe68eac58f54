"""Tars, WebDataset's or any: each is a container that is read in one pass."""

from collections import Counter
from collections.abc import Sequence

from pipeline.clips import ClipRef, Container
from pipeline.readers.tar.reader import (DEFAULT_COLUMNS, TAR_ENDINGS, text_endings)
from pipeline.sources.listing import SourceOptions
from pipeline.sources.locations import Locations, find_containers

KIND = "tar"
_PEEKED_TARS = 8


class TarSource:
    """Tars, plain or compressed, here or in a store: files, globs, braces and folders of them.

    Args:
        locations: of all sources that are tars.
        options: how to take them.
    """

    def __init__(self, locations: Sequence[str], options: SourceOptions) -> None:
        self._options = options
        self._locations = Locations(locations, TAR_ENDINGS, options)
        self._found: tuple[Container, ...] | None = None

    def clips(self) -> tuple[ClipRef, ...]:
        """None: what is in a tar is known once it has been read."""
        return ()

    def containers(self) -> tuple[Container, ...]:
        """One a tar.

        Raises:
            UsageError: a location that does not exist.
            StoreError: a store does not answer.
        """
        if self._found is None:
            self._found = tuple(find_containers(self._locations, KIND))
        return self._found

    def columns(self) -> tuple[str, ...]:
        """Endings of the members whose text is carried.

        Those that are asked for, whether or not there are any; else `json`, `txt` and `cls`, as far
        as the first samples of the first sound tar have them.

        Raises:
            UsageError, StoreError: as `containers`.
        """
        if self._options.columns is not None:
            return self._options.columns
        if self._options.table_columns is not None:
            return self._options.table_columns
        for tar in self.containers()[:_PEEKED_TARS]:
            found = text_endings(tar, self._options.storage)
            if found is not None:
                return tuple(ending for ending in DEFAULT_COLUMNS if ending in found)
        return ()

    def skipped(self) -> Counter[str]:
        """Files in folders that are no tars, by ending."""
        return self._locations.skipped

    def notes(self) -> list[str]:
        """Return no sentences: there is nothing to add to the counts."""
        return []

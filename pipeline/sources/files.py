"""Folders, files and globs: every file is a clip."""

from collections import Counter
from collections.abc import Iterator, Sequence

from pipeline.audio import AUDIO_ENDINGS
from pipeline.clips import ClipRef, Container
from pipeline.sources.listing import SourceOptions
from pipeline.sources.locations import Locations


class FilesSource:
    """Folders (walked down), files and globs (`**` crosses folders), local and remote.

    Args:
        locations: of all sources that are files.
        options: how to take them.
    """

    def __init__(self, locations: Sequence[str], options: SourceOptions) -> None:
        self._options = options
        self._locations = Locations(locations, AUDIO_ENDINGS, options)

    def clips(self) -> Iterator[ClipRef]:
        """Every file.

        Raises:
            UsageError: a source that does not exist, a glob that matches nothing, or a folder that
                cannot be listed.
            StoreError: a store is out of order.
        """
        for file in self._locations.files():
            yield ClipRef(file.uri, file.version, read_uri=file.read_uri, n_bytes=file.n_bytes)

    def containers(self) -> tuple[Container, ...]:
        """None: every file is a clip."""
        return ()

    def columns(self) -> tuple[str, ...]:
        """None: files say nothing of themselves.

        Raises:
            UsageError: the options ask for some.
        """
        return self._options.no_columns(
            "plain files have none to carry; name a manifest, Parquet or tar files as the source"
        )

    def skipped(self) -> Counter[str]:
        """Files without an audio ending, or not let through by the patterns; by ending."""
        return self._locations.skipped

    def notes(self) -> list[str]:
        """Return no sentences: there is nothing to add to the counts."""
        return []

"""The `files` format: folders, files and globs, in which every file is a clip."""

from collections import Counter
from collections.abc import Iterator, Sequence

from pipeline.audio import AUDIO_ENDINGS
from pipeline.clips import ClipRef, Container
from pipeline.sources.listing import SourceOptions
from pipeline.sources.locations import Locations


class FilesSource:
    """A source of audio files, local or remote.

    Args:
        locations: Folders, files and globs as the user named them. Folders are searched
            recursively; `**` in a glob crosses folders.
        options: Options for all sources.
    """

    def __init__(self, locations: Sequence[str], options: SourceOptions) -> None:
        self._options = options
        self._locations = Locations(locations, AUDIO_ENDINGS, options)

    def clips(self) -> Iterator[ClipRef]:
        """Yield each file as a clip.

        Raises:
            UsageError: A location does not exist, a glob matches nothing, or a folder cannot be
                listed.
            StoreError: A store is unavailable.
        """
        for file in self._locations.files():
            yield ClipRef(file.uri, file.version, read_uri=file.read_uri, n_bytes=file.n_bytes)

    def containers(self) -> tuple[Container, ...]:
        """Return no containers: every file is a clip."""
        return ()

    def columns(self) -> tuple[str, ...]:
        """Return no columns: plain files have no metadata to carry.

        Raises:
            UsageError: The options ask for columns.
        """
        return self._options.no_columns(
            "plain files have none to carry; name a manifest, Parquet or tar files as the source"
        )

    def skipped(self) -> Counter[str]:
        """Return the number of files that were left out, by ending or kind."""
        return self._locations.skipped

    def notes(self) -> list[str]:
        """Return no notes: there is nothing to add to the counts."""
        return []

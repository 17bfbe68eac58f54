"""The listing of a run's sources, and the interface of a source of one format."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.clips import ClipRef, Container
from pipeline.errors import UsageError
from pipeline.io.signed_urls import DEFAULT_QUERY_RULE, QueryRule
from pipeline.io.storage import DEFAULT_STORAGE, Storage
from pipeline.wording import count

AUTO = "auto"
"""Value of `--source-format` that detects the format of each source."""
FORMATS = ("files", "tar", "parquet", "manifest", "uris")
"""Formats of sources; `uris` are paths and URIs on standard input."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Options for reading all sources of a run.

    Attributes:
        format: Format of all sources, one of `FORMATS`; `auto` to detect it for each source.
        columns: Names of the source columns to carry into the table; None for the default of the
            format.
        audio_column: Name of the column with the audio in Parquet files, or with the recordings in
            manifests; None to find it.
        include: Patterns; a file is left out unless it matches at least one of them.
        exclude: Patterns; a file is left out if it matches any of them.
        storage: Access to remote locations, with the rules for hosts that lists may name.
        table_columns: Names of the columns that the table carries already; None for a new table. If
            `columns` is None, a source carries those of them that it has, and no others.
        follow_links: Whether symbolic links in folders may lead out of the sources.
        query: Rule for the URL parameters that are part of a recording's name.
    """

    format: str = AUTO
    columns: tuple[str, ...] | None = None
    audio_column: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    storage: Storage = DEFAULT_STORAGE
    table_columns: tuple[str, ...] | None = None
    follow_links: bool = False
    query: QueryRule = DEFAULT_QUERY_RULE

    def default_columns(self, available: tuple[str, ...]) -> tuple[str, ...]:
        """Return the columns that a source carries if `columns` is None.

        Args:
            available: Names of the columns that the source has.
        """
        if self.table_columns is None:
            return available
        return tuple(column for column in self.table_columns if column in available)

    def no_columns(self, reason: str) -> tuple[()]:
        """Return no columns, for a source that has none to carry.

        Args:
            reason: Why the source has none, and what to name instead; for the message.

        Raises:
            UsageError: `columns` asks for some.
        """
        if self.columns:
            raise UsageError(f"columns {', '.join(self.columns)}: {reason}")
        return ()


@dataclass
class Listing:
    """The clips and containers of all sources, each once and sorted.

    Attributes:
        clips: Clips that are known before any file is read, sorted.
        containers: Files that hold many clips, sorted.
        columns: Names of the carried columns.
        skipped: Number of files that were left out, by ending or kind.
        formats: Format of each source, by the source as the user named it.
        notes: Sentences about the sources for the user.
    """

    clips: list[ClipRef] = field(default_factory=list)
    containers: list[Container] = field(default_factory=list)
    columns: tuple[str, ...] = ()
    skipped: Counter[str] = field(default_factory=Counter)
    formats: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return the number of clips, containers and skipped files, as a text for the user."""
        parts = []
        if self.clips or not self.containers:
            parts.append(count(len(self.clips), "clip"))
        if self.containers:
            parts.append(count(len(self.containers), "container"))
        return " and ".join(parts) + skipped_note(self.skipped)


class Source(Protocol):
    """All sources of one format, listed together because they may overlap.

    An implementation is constructed from its locations and the `SourceOptions`.
    """

    def clips(self) -> Iterable[ClipRef]:
        """Return the clips that are known without reading the audio.

        They come in any order. A clip of overlapping locations may come several times.

        Raises:
            UsageError: A location cannot be listed, or is not of this format.
            StoreError: A store is unavailable.
        """
        ...

    def containers(self) -> Iterable[Container]:
        """Return the files that hold many clips, each with a kind that `shard_reader` can read.

        Raises:
            UsageError: A location cannot be listed, or is not of this format.
            StoreError: A store is unavailable.
        """
        ...

    def columns(self) -> tuple[str, ...]:
        """Return the names of the columns that the clips carry, as the options ask for them.

        Raises:
            UsageError: The options ask for a column that the source does not have.
        """
        ...

    def skipped(self) -> Counter[str]:
        """Return the number of files that `clips` and `containers` left out, by ending or kind."""
        ...

    def notes(self) -> list[str]:
        """Return sentences about the locations for the user."""
        ...


def skipped_note(skipped: Counter[str]) -> str:
    """Return a note on skipped files for a message, or an empty string.

    For example: ` (skipped 12 other files: .txt 10, .md 2)`.
    """
    if not skipped:
        return ""
    endings = ", ".join(f"{ending or 'no ending'} {n}" for ending, n in skipped.most_common(5))
    return f" (skipped {count(skipped.total(), 'other file')}: {endings})"

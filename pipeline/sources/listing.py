"""What the sources of a run hold: clips, containers, and what was passed over."""

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
FORMATS = ("files", "tar", "parquet", "manifest", "uris")
"""What a source can be; `uris` are those on standard input."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How sources are to be taken.

    Attributes:
        format: one of the formats for all sources, or `auto`.
        columns: names of what the source says of its clips that the table is to carry; None for
            what the format carries by itself.
        audio_column: of Parquet files; None to find it.
        include: patterns; files whose path below the source matches none are passed over.
        exclude: patterns; files whose path below the source matches one are passed over.
        storage: how remote locations are reached, and what lists may name.
        table_columns: Names of the columns that a table carries already: where `columns` is None,
            a source gives those of them that it has, and no others.
        follow_links: Whether links in folders are followed out of the sources.
        query: Which parameters of a URL tell recordings apart.
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

    def known(self, there: tuple[str, ...]) -> tuple[str, ...]:
        """Return the columns to carry by default of those that a source has."""
        if self.table_columns is None:
            return there
        return tuple(column for column in self.table_columns if column in there)

    def no_columns(self, why: str) -> tuple[()]:
        """The columns of a source that says nothing of its clips.

        Args:
            why: there are none, and what to name instead.

        Raises:
            UsageError: some are asked for.
        """
        if self.columns:
            raise UsageError(f"columns {', '.join(self.columns)}: {why}")
        return ()


@dataclass
class Listing:
    """What all sources hold, each clip and container once, in one order.

    Attributes:
        clips: the clips that are known before anything is read, sorted.
        containers: the files of many clips, sorted.
        columns: that the clips carry.
        skipped: files passed over, counted by ending.
        formats: what each source was taken for.
        notes: Sentences about the sources that their reader should know.
    """

    clips: list[ClipRef] = field(default_factory=list)
    containers: list[Container] = field(default_factory=list)
    columns: tuple[str, ...] = ()
    skipped: Counter[str] = field(default_factory=Counter)
    formats: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """How much there is, for people."""
        parts = []
        if self.clips or not self.containers:
            parts.append(count(len(self.clips), "clip"))
        if self.containers:
            parts.append(count(len(self.containers), "container"))
        return " and ".join(parts) + skipped_note(self.skipped)


class Source(Protocol):
    """The sources of one format, which are listed together, as they may overlap.

    Made of the locations and the `SourceOptions`.
    """

    def clips(self) -> Iterable[ClipRef]:
        """The clips that can be told without reading much; in any order, overlaps more than once.

        Raises:
            UsageError: a location cannot be listed, or is not of this format.
        """
        ...

    def containers(self) -> Iterable[Container]:
        """The files of many clips, each of a kind that `shard_reader` has a reader for.

        Raises:
            UsageError: as `clips`.
        """
        ...

    def columns(self) -> tuple[str, ...]:
        """What the clips carry, of what the options ask for.

        Raises:
            UsageError: the options ask for what the source does not have.
        """
        ...

    def skipped(self) -> Counter[str]:
        """Files passed over by `clips` and `containers`, by ending."""
        ...

    def notes(self) -> list[str]:
        """Return sentences about the locations that a person should know."""
        ...


def skipped_note(skipped: Counter[str]) -> str:
    """What was passed over, for people: ` (skipped 12 files: .txt 10, .md 2)`, or nothing."""
    if not skipped:
        return ""
    endings = ", ".join(f"{ending or 'no ending'} {n}" for ending, n in skipped.most_common(5))
    return f" (skipped {count(skipped.total(), 'other file')}: {endings})"

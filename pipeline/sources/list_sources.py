"""The sources of a command, combined into one listing."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from pipeline.clips import ClipRef, Container
from pipeline.errors import UsageError
from pipeline.io.signed_urls import strip_signature
from pipeline.sources.detect_format import detect_format
from pipeline.sources.files import FilesSource
from pipeline.sources.listing import Listing, Source, SourceOptions, skipped_note
from pipeline.sources.manifests.manifest import ManifestSource
from pipeline.sources.own_tables import table_notes
from pipeline.sources.parquet import ParquetSource
from pipeline.sources.patterns import LEFT_OUT
from pipeline.sources.stdin import StdinSource
from pipeline.sources.tars import TarSource
from pipeline.wording import count

_SOURCES: dict[str, Callable[[Sequence[str], SourceOptions], Source]] = {
    "files": FilesSource,
    "manifest": ManifestSource,
    "parquet": ParquetSource,
    "tar": TarSource,
    "uris": StdinSource,
}
_ADVICE = {
    "files": "name files or a glob to include files with any ending",
    "manifest": "a manifest needs one row per recording",
    "parquet": "name Parquet or Arrow files with rows",
    "tar": "name tars or a glob to include files with any ending",
    "uris": "pipe in one path or URI per line",
}
"""Advice for a source in which nothing was found, by format."""


def list_sources(
    sources: Sequence[str],
    options: SourceOptions = SourceOptions(),  # noqa: B008 (frozen)
    on_found: Callable[[], None] = lambda: None,
) -> Listing:
    """List every clip and container of the sources.

    Sources may overlap. The listing does not depend on the order in which they are named.

    Args:
        sources: Paths, globs and URIs as the user named them.
        options: Options for all sources.
        on_found: Called for each clip as it is found.

    Raises:
        UsageError: A source cannot be listed, the sources hold nothing, or `options` ask for a
            column that a source does not have.
        StoreError: A store is unavailable.
    """
    options = dataclasses.replace(options, storage=options.storage.with_own_hosts(sources))
    listing = Listing(formats={source: detect_format(source, options) for source in sources})
    by_format = [
        # The formats are sorted, so that nothing depends on which source was named first.
        _SOURCES[name]([s for s, f in listing.formats.items() if f == name], options)
        for name in sorted(set(listing.formats.values()))
    ]
    join_sources(by_format, listing, options.table_columns, on_found)
    if not listing.clips and not listing.containers:
        shown = ", ".join(options.storage.redact(strip_signature(s)) for s in sources)
        if n_excluded := listing.skipped[LEFT_OUT]:
            raise UsageError(
                f"--include and --exclude leave nothing of {shown}: they exclude "
                f"{count(n_excluded, 'file')}; patterns with a / are compared with the path "
                "below the source, others with the file's name"
            )
        raise UsageError(
            f"no audio files in {shown}{skipped_note(listing.skipped)}; "
            + "; ".join(_ADVICE[name] for name in sorted(set(listing.formats.values())))
        )
    return listing


def join_sources(
    sources: Sequence[Source],
    listing: Listing,
    order: tuple[str, ...] | None = None,
    on_found: Callable[[], None] = lambda: None,
) -> None:
    """Fill a listing with the clips and containers of the sources.

    Args:
        sources: One source per format, in an order that depends on the formats only.
        listing: The listing to fill. Its clips, containers and columns are empty.
        order: Names of all columns, in the order that the listing should have; None for the order
            of the sources.
        on_found: Called for each clip as it is found.

    Raises:
        UsageError: A source cannot be listed.
    """
    columns = [column for source in sources for column in source.columns()]
    if order is not None:
        columns.sort(key=order.index)
    listing.columns = tuple(dict.fromkeys(columns))
    clips, containers = dict[ClipRef, ClipRef](), set[Container]()
    for source in sources:
        for clip in _align_columns(source, listing.columns):
            on_found()
            # A manifest and a folder may name the same clip; the carried values are kept.
            if not clips.setdefault(clip, clip).carried:
                clips[clip] = clip
        containers.update(source.containers())
        listing.skipped.update(source.skipped())
        listing.notes += source.notes()
    listing.notes += table_notes(listing.skipped)
    listing.clips = sorted(clips.values(), key=lambda clip: (clip.uri, clip.version, clip.member))
    listing.containers = sorted(containers)


def _align_columns(source: Source, columns: tuple[str, ...]) -> Iterable[ClipRef]:
    """Return the clips of a source, with a carried value or None for each of `columns`."""
    source_columns = source.columns()
    if not source_columns or source_columns == columns:
        return source.clips()
    indices = [
        source_columns.index(column) if column in source_columns else None for column in columns
    ]
    return (
        dataclasses.replace(
            clip, carried=tuple(None if i is None else clip.carried[i] for i in indices)
        )
        for clip in source.clips()
    )

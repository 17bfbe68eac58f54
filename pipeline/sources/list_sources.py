"""All sources of a command as one listing."""

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
_NAME_SOME = {
    "files": "name files or a glob to take them whatever their ending",
    "manifest": "a manifest names one in each of its rows",
    "parquet": "name Parquet or Arrow files with rows",
    "tar": "name tars or a glob to take them whatever their ending",
    "uris": "pipe in the name of one in each line",
}
"""By format, what to do where nothing was found."""


def list_sources(
    sources: Sequence[str],
    options: SourceOptions = SourceOptions(),  # noqa: B008 (frozen)
    on_found: Callable[[], None] = lambda: None,
) -> Listing:
    """List every clip and container of the sources, which may overlap and come in any order.

    Args:
        sources: as a person names them.
        options: how to take them.
        on_found: Called for each clip as it is found.

    Raises:
        UsageError: a source that cannot be listed, nothing at all in them, or a column to carry
            that goes by the name of one of the table's own.
    """
    options = dataclasses.replace(options, storage=options.storage.owning(sources))
    listing = Listing(formats={source: detect_format(source, options) for source in sources})
    made = [
        # Sorted: nothing may depend on which source was named first.
        _SOURCES[name]([s for s, f in listing.formats.items() if f == name], options)
        for name in sorted(set(listing.formats.values()))
    ]
    join_sources(made, listing, options.table_columns, on_found)
    if not listing.clips and not listing.containers:
        shown = ", ".join(options.storage.redact(strip_signature(s)) for s in sources)
        if n_left_out := listing.skipped[LEFT_OUT]:
            raise UsageError(
                f"--include and --exclude leave nothing of {shown}: they keep out "
                f"{count(n_left_out, 'file')}; patterns with a / are compared with the path "
                "below the source, others with the file's name"
            )
        raise UsageError(
            f"no audio files in {shown}{skipped_note(listing.skipped)}; "
            + "; ".join(_NAME_SOME[name] for name in sorted(set(listing.formats.values())))
        )
    return listing


def join_sources(
    sources: Sequence[Source],
    listing: Listing,
    order: tuple[str, ...] | None = None,
    on_found: Callable[[], None] = lambda: None,
) -> None:
    """Fill a listing with what the sources hold.

    Args:
        sources: in an order that depends on nothing but their formats.
        listing: still empty.
        order: Names of columns, in the order that the listing is to have them; None for the order
            in which the sources have them.
        on_found: Called for each clip as it is found.

    Raises:
        UsageError: one cannot be listed.
    """
    columns = [column for source in sources for column in source.columns()]
    if order is not None:
        columns.sort(key=order.index)
    listing.columns = tuple(dict.fromkeys(columns))
    clips, containers = dict[ClipRef, ClipRef](), set[Container]()
    for source in sources:
        for clip in _aligned(source, listing.columns):
            on_found()
            # What one source says of a clip is kept where another only finds it.
            if not clips.setdefault(clip, clip).carried:
                clips[clip] = clip
        containers.update(source.containers())
        listing.skipped.update(source.skipped())
        listing.notes += source.notes()
    listing.notes += table_notes(listing.skipped)
    listing.clips = sorted(clips.values(), key=lambda clip: (clip.uri, clip.version, clip.member))
    listing.containers = sorted(containers)


def _aligned(source: Source, columns: tuple[str, ...]) -> Iterable[ClipRef]:
    """The clips of a source, with values for the columns of all sources."""
    ours = source.columns()
    if not ours or ours == columns:
        return source.clips()
    places = [ours.index(column) if column in ours else None for column in columns]
    return (
        dataclasses.replace(
            clip, carried=tuple(None if i is None else clip.carried[i] for i in places)
        )
        for clip in source.clips()
    )

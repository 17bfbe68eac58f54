"""What each SOURCE of a command is, and all of them as one listing."""

from collections.abc import Callable, Sequence

from pipeline.clips import ClipRef, Container
from pipeline.errors import UsageError
from pipeline.signed import without_signature
from pipeline.sources.files import FilesSource
from pipeline.sources.listing import AUTO, Listing, Source, SourceOptions, skipped_note

_FORMATS: dict[str, Callable[[Sequence[str], SourceOptions], Source]] = {"files": FilesSource}
FORMATS = tuple(_FORMATS)


def list_sources(sources: Sequence[str], options: SourceOptions = SourceOptions()) -> Listing:  # noqa: B008 (frozen)
    """List every clip and container of the sources, which may overlap and come in any order.

    Args:
        sources: as a person names them.
        options: how to take them.

    Raises:
        UsageError: a source that cannot be listed, or nothing at all in them.
    """
    listing = Listing(formats={source: format_of(source, options) for source in sources})
    clips, containers = set[ClipRef](), set[Container]()
    for name in dict.fromkeys(listing.formats.values()):
        ours = [source for source, format_ in listing.formats.items() if format_ == name]
        source = _FORMATS[name](ours, options)
        clips.update(source.clips())
        containers.update(source.containers())
        listing.columns += tuple(c for c in source.columns() if c not in listing.columns)
        listing.skipped.update(source.skipped())
    if not clips and not containers:
        shown = ", ".join(options.storage.redacted(without_signature(s)) for s in sources)
        raise UsageError(
            f"no audio files in {shown}{skipped_note(listing.skipped)}; "
            "name files or a glob to take them whatever their ending"
        )
    listing.clips = sorted(clips, key=lambda clip: (clip.uri, clip.version, clip.member))
    listing.containers = sorted(containers)
    return listing


def format_of(source: str, options: SourceOptions) -> str:
    """The format that a source is taken for.

    Raises:
        UsageError: no such format.
    """
    if options.format != AUTO and options.format not in FORMATS:
        raise UsageError(
            f"source_format must be {AUTO} or one of {', '.join(FORMATS)} (got {options.format!r})"
        )
    return options.format if options.format != AUTO else "files"

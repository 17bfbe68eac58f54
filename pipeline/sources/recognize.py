"""What each SOURCE of a command is, and all of them as one listing."""

import dataclasses
import glob
import os
from collections.abc import Callable, Iterable, Sequence

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.clips import ClipRef, Container
from pipeline.errors import UsageError
from pipeline.signed import without_signature
from pipeline.sources.files import FilesSource
from pipeline.sources.listing import AUTO, Listing, Source, SourceOptions, skipped_note
from pipeline.sources.manifest import MANIFEST_ENDINGS, URI_COLUMN, ManifestSource
from pipeline.sources.stdin import STDIN, StdinSource
from pipeline.storage import is_uri

_FORMATS: dict[str, Callable[[Sequence[str], SourceOptions], Source]] = {
    "files": FilesSource,
    "manifest": ManifestSource,
    "uris": StdinSource,
}
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
    made = [
        # Sorted: nothing may depend on which source was named first.
        _FORMATS[name]([s for s, f in listing.formats.items() if f == name], options)
        for name in sorted(set(listing.formats.values()))
    ]
    join_sources(made, listing)
    if not listing.clips and not listing.containers:
        shown = ", ".join(options.storage.redacted(without_signature(s)) for s in sources)
        raise UsageError(
            f"no audio files in {shown}{skipped_note(listing.skipped)}; "
            "name files or a glob to take them whatever their ending"
        )
    return listing


def join_sources(sources: Sequence[Source], listing: Listing) -> None:
    """Fill a listing with what the sources hold.

    Args:
        sources: in an order that depends on nothing but their formats.
        listing: still empty.

    Raises:
        UsageError: one cannot be listed.
    """
    columns = [column for source in sources for column in source.columns()]
    listing.columns = tuple(dict.fromkeys(columns))
    clips, containers = dict[ClipRef, ClipRef](), set[Container]()
    for source in sources:
        for clip in _aligned(source, listing.columns):
            # What one source says of a clip is kept where another only finds it.
            if not clips.setdefault(clip, clip).carried:
                clips[clip] = clip
        containers.update(source.containers())
        listing.skipped.update(source.skipped())
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


def format_of(source: str, options: SourceOptions) -> str:
    """The format that a source is taken for.

    Raises:
        UsageError: no such format.
    """
    if options.format != AUTO and options.format not in FORMATS:
        raise UsageError(
            f"source_format must be {AUTO} or one of {', '.join(FORMATS)} (got {options.format!r})"
        )
    if source == STDIN:
        return "uris"
    if options.format != AUTO:
        return options.format
    ending = os.path.splitext(source)[1].lower()
    if ending not in MANIFEST_ENDINGS or os.path.isdir(source):
        return "files"
    return "manifest" if ending != ".parquet" or _is_manifest(source, options) else "files"


def _is_manifest(parquet: str, options: SourceOptions) -> bool:
    """Whether a Parquet file names recordings: it has texts in `uri`, and no bytes anywhere."""
    if options.audio_column:
        return False
    if is_uri(parquet):
        files, path = options.storage.filesystem(parquet), parquet
    else:
        matches = [] if os.path.exists(parquet) else sorted(glob.glob(parquet, recursive=True))
        files, path = fsspec.filesystem("file"), next(iter(matches), parquet)
    try:
        with files.open(path) as file:
            schema = pq.read_schema(file)
    except (pa.ArrowException, OSError):
        return False  # whoever reads it says why it cannot be read
    kinds = {f.name: f.type for f in schema}
    parts = [part.type for kind in kinds.values() if pa.types.is_struct(kind) for part in kind]
    has_bytes = any(map(_is_bytes, (*kinds.values(), *parts)))
    uri = kinds.get(URI_COLUMN, pa.null())
    return (pa.types.is_string(uri) or pa.types.is_large_string(uri)) and not has_bytes


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

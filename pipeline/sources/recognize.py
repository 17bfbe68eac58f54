"""What each SOURCE of a command is, and all of them as one listing."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from pipeline.clips import ClipRef, Container, uri_to_path
from pipeline.containers import is_remote
from pipeline.errors import StoreError, UsageError
from pipeline.sources.files import AUDIO_ENDINGS, FilesSource
from pipeline.sources.listing import AUTO, Listing, Source, SourceOptions, skipped_note
from pipeline.sources.parquet import PARQUET_ENDINGS, ParquetSource
from pipeline.sources.tars import TarSource
from pipeline.storage import Storage
from pipeline.tar_reader import TAR_ENDINGS

_FORMATS: dict[str, Callable[[Sequence[str], SourceOptions], Source]] = {
    "files": FilesSource,
    "tar": TarSource,
    "parquet": ParquetSource,
}
FORMATS = tuple(_FORMATS)
_LOOK_S = 10.0
_CONTAINER_ENDINGS = {"tar": TAR_ENDINGS, "parquet": PARQUET_ENDINGS}


def list_sources(sources: Sequence[str], options: SourceOptions = SourceOptions()) -> Listing:  # noqa: B008 (frozen)
    """List every clip and container of the sources, which may overlap and come in any order.

    Args:
        sources: as a person names them.
        options: how to take them.

    Raises:
        UsageError: a source that cannot be listed, nothing at all in them, or a column to carry
            that goes by the name of one of the table's own.
    """
    listing = Listing(formats={source: format_of(source, options) for source in sources})
    clips, containers = set[ClipRef](), set[Container]()
    for name in dict.fromkeys(listing.formats.values()):
        ours = [source for source, format_ in listing.formats.items() if format_ == name]
        source = _FORMATS[name](ours, options)
        clips.update(source.clips())
        containers.update(source.containers())
        listing.columns = tuple(dict.fromkeys((*listing.columns, *source.columns())))
        listing.skipped.update(source.skipped())
    if not clips and not containers:
        raise UsageError(
            f"no audio files in {', '.join(sources)}{skipped_note(listing.skipped)}; "
            "name files or a glob to take them whatever their ending"
        )
    if listing.columns:
        _refuse_own_names(listing.columns)
    listing.clips = sorted(clips, key=lambda clip: (clip.uri, clip.version, clip.member))
    listing.containers = sorted(containers)
    return listing


def format_of(source: str, options: SourceOptions) -> str:
    """The format that a source is taken for: by its ending, or by what a folder holds.

    Raises:
        UsageError: no such format, or a folder of several.
    """
    if options.format != AUTO and options.format not in FORMATS:
        raise UsageError(
            f"source_format must be {AUTO} or one of {', '.join(FORMATS)} (got {options.format!r})"
        )
    if options.format != AUTO:
        return options.format
    if not is_remote(source) and os.path.isdir(uri_to_path(source)):
        found = _formats_of(_names_below(uri_to_path(source)))
    elif is_remote(source) and not os.path.splitext(source.rstrip("/"))[1]:
        found = _formats_of(_names_in_store(source, options.storage))
    else:
        found = _formats_of([source])
    if len(found) > 1:
        raise UsageError(
            f"source {source!r}: holds files of several formats; name one by --source-format "
            f"({', '.join(sorted(found))}) or name files"
        )
    return found.pop() if found else "files"


def _formats_of(names: Iterable[str]) -> set[str]:
    """Formats of containers among files, none if there is a file of audio."""
    found = set[str]()
    for name in names:
        if os.path.splitext(name)[1].lower() in AUDIO_ENDINGS:
            return set()
        found.update(
            format_
            for format_, endings in _CONTAINER_ENDINGS.items()
            if name.lower().endswith(endings)
        )
    return found


def _names_below(folder: str) -> Iterator[str]:
    return (name for _, _, files in os.walk(folder) for name in files)


def _names_in_store(folder: str, storage: Storage) -> list[str]:
    """What lies right in the folder: going down could take as long as the listing itself."""
    filesystem = storage.filesystem(folder)
    briefly = replace(storage, timeout_s=min(storage.timeout_s, _LOOK_S))
    # What is wrong there is for the listing to say.
    with contextlib.suppress(FileNotFoundError, PermissionError, StoreError):
        return list(briefly.tried(folder, lambda: filesystem.ls(folder, detail=False)))
    return []


def _refuse_own_names(columns: Iterable[str]) -> None:
    # Here, because it takes the decoders to know them.
    from pipeline.schema import own_columns

    own = own_columns()
    for name in columns:
        # Some readers do not tell `URI` from `uri`.
        if not name or name.lower() in own:
            raise UsageError(
                f"columns: {name!r} cannot be carried, as the table has a column of its own by "
                f"that name; leave it out of --columns, or rename it in the source "
                f"(the table's are {', '.join(own)})"
            )

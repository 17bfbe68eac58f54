"""What a SOURCE is: by its name, by what a folder holds, or by the columns of a Parquet file."""

import contextlib
import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.clips import uri_to_path
from pipeline.errors import StoreError, UsageError
from pipeline.sources.listing import AUTO, FORMATS, SourceOptions
from pipeline.sources.manifest import MANIFEST_ENDINGS, URI_COLUMN
from pipeline.sources.parquet import PARQUET_ENDINGS
from pipeline.sources.patterns import AUDIO_ENDINGS
from pipeline.sources.stdin import STDIN
from pipeline.storage import Storage, is_remote, is_uri
from pipeline.tar_reader import TAR_ENDINGS

_LOOK_S = 10.0
_CONTAINER_ENDINGS = {"tar": TAR_ENDINGS, "parquet": PARQUET_ENDINGS}


def format_of(source: str, options: SourceOptions) -> str:
    """The format that a source is taken for: by its ending, or by what a folder holds.

    Raises:
        UsageError: no such format, or a folder of several.
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
    if ending in MANIFEST_ENDINGS and not os.path.isdir(uri_to_path(source)):
        return "manifest" if ending != ".parquet" or _is_manifest(source, options) else "parquet"
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

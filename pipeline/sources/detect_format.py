"""What a SOURCE is: by its name, by what a folder holds, or by the columns of a Parquet file."""

import contextlib
import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.audio import AUDIO_ENDINGS
from pipeline.errors import StoreError, UsageError
from pipeline.io.file_uris import local_path
from pipeline.io.schemes import check_uri
from pipeline.io.storage import HTTP_PROTOCOLS, Storage, is_remote, protocol_of
from pipeline.readers.system_folders import system_folder
from pipeline.readers.tar.reader import TAR_ENDINGS
from pipeline.sources.listing import AUTO, FORMATS, SourceOptions
from pipeline.sources.manifests.column_names import has_uri_column
from pipeline.sources.manifests.manifest_rows import manifest_ending
from pipeline.sources.no_audio import refuse_no_audio
from pipeline.sources.own_tables import table_above
from pipeline.sources.parquet import PARQUET_ENDINGS
from pipeline.sources.stdin import STDIN

_LOOK_S = 10.0
_CONTAINER_ENDINGS = {"tar": TAR_ENDINGS, "parquet": PARQUET_ENDINGS}


def detect_format(source: str, options: SourceOptions) -> str:
    """The format that a source is taken for: by its ending, or by what a folder holds.

    Raises:
        UsageError: no such format, a folder of several, or a name that is of no source at all.
    """
    if options.format != AUTO and options.format not in FORMATS:
        raise UsageError(
            f"source_format must be {AUTO} or one of {', '.join(FORMATS)} (got {options.format!r})"
        )
    if source == STDIN:
        return "uris"
    check_uri(source)
    if options.format != AUTO:
        return options.format
    path = local_path(source)
    is_folder = not is_remote(path) and os.path.isdir(path)
    name = path.partition("?")[0] if protocol_of(path) in HTTP_PROTOCOLS else path
    ending = manifest_ending(name)
    if ending and not is_folder:
        return "manifest" if ending != ".parquet" or _is_manifest(path, options) else "parquet"
    if not is_folder:
        refuse_no_audio(source, name)
    if is_folder:
        found = _formats_of(_names_below(path))
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
    for path, _, files in os.walk(folder):
        below = os.path.relpath(path, folder)
        if not system_folder(below):
            # The Parquet files of a table that lies in the folder do not make it a source of rows.
            ours = (name for name in files if table_above(f"{below}/{name}") is None)
            yield from (name for name in ours if not name.startswith("._"))


def _names_in_store(folder: str, storage: Storage) -> list[str]:
    """What lies right in the folder: going down could take as long as the listing itself."""
    filesystem = storage.filesystem(folder)
    briefly = replace(storage, timeout_s=min(storage.timeout_s, _LOOK_S))
    if glob.has_magic(folder):
        return [folder]  # a listing of this name would be one of the folder that it lies in

    def is_folder() -> bool:
        try:
            return bool(filesystem.info(folder)["type"] == "directory")
        except PermissionError:  # one may have the right to list it alone
            return True

    # What is wrong there is for the listing to say.
    with contextlib.suppress(FileNotFoundError, PermissionError, StoreError):
        if not briefly.retry(folder, is_folder):
            return []
        names = briefly.retry(folder, lambda: filesystem.ls(folder, detail=False))
        return [name for name in names if not name.rpartition("/")[2].startswith("._")]
    return []


def _is_manifest(parquet: str, options: SourceOptions) -> bool:
    """Whether a Parquet file names recordings: in texts, while it has no bytes anywhere."""
    if is_remote(parquet):
        files, path = options.storage.filesystem(parquet), parquet
    else:
        matches = [] if os.path.exists(parquet) else sorted(glob.glob(parquet, recursive=True))
        files, path = fsspec.filesystem("file"), next(iter(matches), parquet)
    try:
        with files.open(path) as file:
            schema = pq.read_schema(file)
    except (pa.ArrowException, OSError, ValueError):
        return False  # whoever reads it says why it cannot be read
    kinds = {f.name: f.type for f in schema}
    parts = [part.type for kind in kinds.values() if pa.types.is_struct(kind) for part in kind]
    has_bytes = any(map(_is_bytes, (*kinds.values(), *parts)))
    texts = [name for name, kind in kinds.items() if _is_text(kind)]
    if options.audio_column:
        return options.audio_column in texts
    return not has_bytes and has_uri_column(texts)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

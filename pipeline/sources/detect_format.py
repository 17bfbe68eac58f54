"""Detects the format of a source by its name, its files or the columns of a Parquet file."""

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
from pipeline.io.protocols import HTTP_PROTOCOLS, is_remote, protocol_of
from pipeline.io.schemes import check_uri
from pipeline.io.storage import Storage
from pipeline.readers.system_folders import system_folder
from pipeline.readers.tar.reader import TAR_ENDINGS
from pipeline.sources.listing import AUTO, FORMATS, SourceOptions
from pipeline.sources.manifests.column_names import has_uri_column
from pipeline.sources.manifests.read_rows import manifest_ending
from pipeline.sources.no_audio import refuse_no_audio
from pipeline.sources.own_tables import find_table_above
from pipeline.sources.parquet import PARQUET_ENDINGS
from pipeline.sources.stdin import STDIN

_PROBE_TIMEOUT_S = 10.0
"""How long a store is retried to find out what a remote folder holds."""
_CONTAINER_ENDINGS = {"tar": TAR_ENDINGS, "parquet": PARQUET_ENDINGS}


def detect_format(source: str, options: SourceOptions) -> str:
    """Return the format of a source, one of `FORMATS`.

    Args:
        source: Source as the user named it.
        options: Options for all sources; their format is returned unless it is `auto`. The source
            `-` always has the format `uris`.

    Raises:
        UsageError: There is no such format, a folder holds files of several formats, or the name is
            neither that of recordings nor of a list of recordings.
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
        found = _container_formats(_list_local_names(path))
    elif is_remote(source) and not os.path.splitext(source.rstrip("/"))[1]:
        found = _container_formats(_list_remote_names(source, options.storage))
    else:
        found = _container_formats([source])
    if len(found) > 1:
        raise UsageError(
            f"source {source!r}: holds files of several formats; choose one with --source-format "
            f"({', '.join(sorted(found))}), or name files"
        )
    return found.pop() if found else "files"


def _container_formats(names: Iterable[str]) -> set[str]:
    """Return the container formats among file names; none if any of them is an audio file."""
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


def _list_local_names(folder: str) -> Iterator[str]:
    for path, _, files in os.walk(folder):
        below = os.path.relpath(path, folder)
        if not system_folder(below):
            # A table's own Parquet files must not make a folder of recordings a Parquet source.
            foreign = (name for name in files if find_table_above(f"{below}/{name}") is None)
            yield from (name for name in foreign if not name.startswith("._"))


def _list_remote_names(folder: str, storage: Storage) -> list[str]:
    """Return the names directly in a remote folder; none if it cannot be listed.

    Folders below it are not listed, as this could take as long as the listing of the source itself.
    """
    filesystem = storage.filesystem(folder)
    probe_storage = replace(storage, timeout_s=min(storage.timeout_s, _PROBE_TIMEOUT_S))
    if glob.has_magic(folder):
        return [folder]  # to list this name would list its parent folder

    def is_folder() -> bool:
        try:
            return bool(filesystem.info(folder)["type"] == "directory")
        except PermissionError:  # the credentials may allow listing and nothing else
            return True

    # The listing of the source, which follows, reports these errors.
    with contextlib.suppress(FileNotFoundError, PermissionError, StoreError):
        if not probe_storage.retry(folder, is_folder):
            return []
        names = probe_storage.retry(folder, lambda: filesystem.ls(folder, detail=False))
        return [name for name in names if not name.rpartition("/")[2].startswith("._")]
    return []


def _is_manifest(parquet: str, options: SourceOptions) -> bool:
    """Return whether a Parquet file is a manifest.

    A manifest has a text column that names recordings, and no column of bytes that could be audio.
    """
    if is_remote(parquet):
        files, path = options.storage.filesystem(parquet), parquet
    else:
        matches = [] if os.path.exists(parquet) else sorted(glob.glob(parquet, recursive=True))
        files, path = fsspec.filesystem("file"), next(iter(matches), parquet)
    try:
        with files.open(path) as file:
            schema = pq.read_schema(file)
    except (pa.ArrowException, OSError, ValueError):
        return False  # its reader reports why the file cannot be read
    types = {field.name: field.type for field in schema}
    nested = [each.type for type_ in types.values() if pa.types.is_struct(type_) for each in type_]
    has_bytes = any(map(_is_bytes, (*types.values(), *nested)))
    text_columns = [name for name, type_ in types.items() if _is_text(type_)]
    if options.audio_column:
        return options.audio_column in text_columns
    return not has_bytes and has_uri_column(text_columns)


def _is_text(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def _is_bytes(type_: pa.DataType) -> bool:
    return bool(pa.types.is_binary(type_) or pa.types.is_large_binary(type_))

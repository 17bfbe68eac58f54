"""The source format `manifest`: files with a row per recording, or per part of a recording.

A row has a `uri`, and may have `start_s`, `end_s` and further columns, which the table carries. A
relative `uri` begins at the manifest's folder. `column_names` knows the names that other tools use
for these columns. A row whose recording does not exist is a clip as well, which ends in `errors`.
"""

import glob
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property

from pipeline.clips import ClipRef, Container
from pipeline.errors import UsageError
from pipeline.io.file_uris import local_path
from pipeline.io.objects import FsspecObject
from pipeline.io.protocols import HTTP_PROTOCOLS, is_remote, protocol_of
from pipeline.io.schemes import check_uri
from pipeline.io.signed_urls import strip_signature
from pipeline.io.storage import Storage, first_line
from pipeline.sources.listing import SourceOptions
from pipeline.sources.manifests.column_names import ColumnNames, name_columns
from pipeline.sources.manifests.common_voice import base_folder
from pipeline.sources.manifests.manifest_rows import ManifestRows
from pipeline.sources.manifests.read_rows import READERS, manifest_ending, read_rows
from pipeline.sources.spans import Span, parse_duration_span, parse_span
from pipeline.sources.version_lookup import (
    ResolvedUri,
    look_up_versions,
    parent_uri,
    refuse_hidden_difference,
    resolve_uri,
)
from pipeline.wording import brief, brief_list

_MAX_COLUMNS = 1000
"""Most columns that a table carries by default."""

_NamedClip = tuple[str, Span | None, tuple[str | None, ...], ManifestRows, int]
"""A clip's `read_uri`, span and carried values, and the manifest and row that name it first."""


class ManifestSource:
    """A source of manifests and lists, in text, JSON or Parquet.

    Args:
        locations: Local files, globs and URIs as the user named them.
        options: Options for all sources.
    """

    def __init__(self, locations: Sequence[str], options: SourceOptions) -> None:
        self._locations = locations
        self._options = options

    def clips(self) -> Iterator[ClipRef]:
        """Return each recording, or part of a recording, that a row names, once.

        Raises:
            UsageError: A manifest cannot be read, a row is invalid, or two rows name the same clip
                with different values.
            StoreError: A store is unavailable, or no HTTP host answers.
        """
        named = self._collect_clips()
        found = {uri: read_uri for (uri, _), (read_uri, *_) in named.items()}
        lookups = look_up_versions(found, self._options.storage)
        return (
            ClipRef(
                uri,
                lookups.versions[uri],
                member,
                span,
                carried=carried,
                read_uri=read_uri,
                failure=lookups.failures.get(uri),
            )
            for (uri, member), (read_uri, span, carried, *_) in named.items()
        )

    def containers(self) -> tuple[Container, ...]:
        """Return no containers: every row is a clip."""
        return ()

    def columns(self) -> tuple[str, ...]:
        """Return the columns that the options ask for, or those that the table carries already.

        For a new table these are all columns except those that name recordings and cut them.

        Raises:
            UsageError: The options ask for a column that no manifest has, or there are too many
                columns.
        """
        available = dict.fromkeys(
            column
            for location, rows in self._manifests.items()
            for column in rows.columns
            if column not in self._names[location].used
        )
        if self._options.columns is None:
            if len(available) > _MAX_COLUMNS and self._options.table_columns is None:
                raise UsageError(
                    f"manifest {next(iter(self._manifests.values())).name!r}: has "
                    f"{len(available):,} columns to carry, but a table has at most "
                    f"{_MAX_COLUMNS:,}; choose some with --columns"
                )
            return self._options.default_columns(tuple(available))
        used = {name for names in self._names.values() for name in names.used}
        if unknown := [c for c in self._options.columns if c not in available and c not in used]:
            raise UsageError(
                f"columns {', '.join(unknown)}: not in "
                f"{', '.join(rows.name for rows in self._manifests.values())}, which can "
                f"carry {brief_list(available)}"
            )
        return self._options.columns

    def skipped(self) -> Counter[str]:
        """Return no counts: no row is left out."""
        return Counter()

    def notes(self) -> list[str]:
        """Return sentences about columns that seem to cut recordings but are not used."""
        return [
            f"manifest {self._manifests[location].name!r}: {note}"
            for location, names in self._names.items()
            for note in names.notes
        ]

    @cached_property
    def _manifests(self) -> dict[str, ManifestRows]:
        """Manifests by location, sorted by location."""
        expanded = {path for location in self._locations for path in _expand(location)}
        return {name: _read_manifest(name, self._options.storage) for name in sorted(expanded)}

    @cached_property
    def _names(self) -> dict[str, ColumnNames]:
        """Columns that name recordings and cut them, by location of the manifest."""
        return {name: self._find_names(rows) for name, rows in self._manifests.items()}

    def _find_names(self, rows: ManifestRows) -> ColumnNames:
        try:
            return name_columns(rows.columns, self._options.audio_column)
        except UsageError as error:
            raise UsageError(f"manifest {rows.name!r}: {error}{rows.hint}") from error

    def _collect_clips(self) -> dict[tuple[str, str], _NamedClip]:
        """Return all clips that the rows name, by uri and member.

        Raises:
            UsageError: A row is invalid, or two rows name the same clip with different values.
            StoreError: A store is unavailable.
        """
        named: dict[tuple[str, str], _NamedClip] = {}
        columns = self.columns()
        for location, rows in self._manifests.items():
            names = self._names[location]
            folder = base_folder(_parent_folder(location), names.uri, rows, self._options.storage)
            parse, end = (
                (parse_duration_span, names.duration) if names.duration else (parse_span, names.end)
            )
            for number, (location_text, start_s, end_s, *values) in rows.read(
                (names.uri, names.start, end, *columns)
            ):
                if not isinstance(location_text, str) or not location_text:
                    raise UsageError(
                        f"{rows.describe_row(number)}: {names.uri} must be a path or a URI "
                        f"(got {brief(location_text)})"
                    )
                try:
                    resolved = resolve_uri(location_text, folder, self._options.query)
                    member, span = parse(start_s, end_s, names.start, end)
                except UsageError as error:
                    raise UsageError(f"{rows.describe_row(number)}: {error}") from error
                uri, read_uri = resolved
                carried = _carried_values(values, columns, rows, number)
                key = uri, member
                known = named.setdefault(key, (read_uri, span, carried, rows, number))
                if known[0] != read_uri:
                    where = f"{known[3].describe_row(known[4])} and {rows.describe_row(number)}"
                    first = ResolvedUri(uri, known[0])
                    refuse_hidden_difference(first, resolved, self._options.query, where)
                if known[2] != carried:
                    where = rows.describe_row(number)
                    raise UsageError(_conflict_message(key, known, columns, carried, where))
        return named


def _carried_values(
    values: Sequence[object], columns: Sequence[str], rows: ManifestRows, number: int
) -> tuple[str | None, ...]:
    try:
        carried = tuple(map(_to_text, values))
        "".join(text for text in carried if text).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{rows.describe_row(number)}: {brief_list(columns)} cannot all be text: {error}"
        ) from error
    return carried


def _to_text(value: object) -> str | None:
    """Return a value as carried columns have it: texts unchanged, empty as None, others as JSON."""
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _conflict_message(
    key: tuple[str, str],
    known: _NamedClip,
    columns: Sequence[str],
    carried: Sequence[str | None],
    where: str,
) -> str:
    _, _, first, rows, number = known
    index = next(i for i in range(len(columns)) if first[i] != carried[i])
    return (
        f"{rows.describe_row(number)} and {where} name the same clip, "
        f"{brief(' '.join(key).strip(), 200)}, with different values of "
        f"{brief(columns[index])} ({brief(first[index])}, {brief(carried[index])}); "
        "keep one row, or choose other columns with --columns"
    )


def _expand(location: str) -> list[str]:
    path = local_path(location)
    if is_remote(location) or os.path.lexists(path) or not glob.has_magic(path):
        return [path]
    matches = glob.glob(path, recursive=True, include_hidden=True)
    if not matches:
        raise UsageError(f"source {location!r}: the glob matches no file")
    return matches


def _parent_folder(location: str) -> str:
    if is_remote(location):
        return parent_uri(_strip_query(location))
    return os.path.dirname(os.path.abspath(location))


def _strip_query(location: str) -> str:
    return location.partition("?")[0] if protocol_of(location) in HTTP_PROTOCOLS else location


def _read_manifest(location: str, storage: Storage) -> ManifestRows:
    check_uri(location)
    shown = storage.redact(strip_signature(location))
    ending = manifest_ending(_strip_query(location))
    if not ending:
        raise UsageError(
            f"manifest {shown!r}: its name must end in one of {', '.join(READERS)}; all but "
            ".parquet may be followed by .gz"
        )
    return read_rows(shown, ending, _read_content(location, storage))


def _read_remote(location: str, storage: Storage) -> bytes:
    if protocol_of(location) in HTTP_PROTOCOLS:  # FsspecObject limits what a server may send
        return b"".join(FsspecObject(location, storage).pieces())
    content: bytes = storage.filesystem(location).cat_file(location)
    return content


def _read_content(location: str, storage: Storage) -> bytes:
    shown = storage.redact(strip_signature(location))
    try:
        if is_remote(location):
            return storage.retry(f"reading {shown}", lambda: _read_remote(location, storage))
        with open(location, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise UsageError(f"manifest {shown!r}: no such file") from error
    except OSError as error:
        reason = error.strerror or storage.redact(first_line(error))
        raise UsageError(f"manifest {shown!r}: {reason}") from error

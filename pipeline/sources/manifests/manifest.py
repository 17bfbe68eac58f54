"""Manifests: files that name recordings, or parts of them, and say something about each.

A row has a `uri` (relative ones begin at the manifest's folder), perhaps `start_s` and `end_s`, and
further columns, which the table carries. `column_names` knows the names that other tools have for
these. A recording that is not there is a clip nevertheless: it ends in `errors`.
"""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property

from pipeline.clips import ClipRef, Container
from pipeline.errors import UsageError
from pipeline.io.file_uris import local_path
from pipeline.io.objects import FsspecObject
from pipeline.io.schemes import check_uri
from pipeline.io.signed_urls import strip_signature
from pipeline.io.storage import HTTP_PROTOCOLS, Storage, first_line, is_remote, protocol_of
from pipeline.sources.listing import SourceOptions
from pipeline.sources.manifests.column_names import ColumnNames, name_columns
from pipeline.sources.manifests.common_voice import base_folder
from pipeline.sources.manifests.manifest_rows import (
    READERS,
    ManifestRows,
    as_text,
    manifest_ending,
    read_rows,
)
from pipeline.sources.spans import Span, span_of, span_of_duration
from pipeline.sources.version_lookup import (
    ResolvedUri,
    folder_of,
    look_up_versions,
    refuse_hidden_difference,
    resolve_uri,
)
from pipeline.wording import brief, brief_list

_MOST_COLUMNS = 1000

_Named = tuple[str, Span | None, tuple[str | None, ...], ManifestRows, int]
"""Of one clip: what to read it by, span, carried values, and the row that names it."""


class ManifestSource:
    """Manifests, in text, JSON or Parquet, and lists; local (files and globs) or remote.

    Args:
        locations: of all sources that are manifests.
        options: how to take them.
    """

    def __init__(self, locations: Sequence[str], options: SourceOptions) -> None:
        self._locations = locations
        self._options = options

    def clips(self) -> Iterator[ClipRef]:
        """Every recording, or part of one, that a row names, once.

        Raises:
            UsageError: a manifest that cannot be read, a row that makes no sense, or two rows that
                name one clip and differ in what they say of it.
        """
        named = self._named()
        found = {uri: read_uri for (uri, _), (read_uri, *_) in named.items()}
        looks = look_up_versions(found, self._options.storage)
        return (
            ClipRef(
                uri,
                looks.versions[uri],
                member,
                span,
                carried=carried,
                read_uri=read_uri,
                failure=looks.failures.get(uri),
            )
            for (uri, member), (read_uri, span, carried, *_) in named.items()
        )

    def containers(self) -> tuple[Container, ...]:
        """None: what a manifest names are clips."""
        return ()

    def columns(self) -> tuple[str, ...]:
        """Those asked for, else all but the ones that name recordings and cut them.

        Raises:
            UsageError: the options ask for what no manifest has.
        """
        there = dict.fromkeys(
            column
            for location, rows in self._manifests.items()
            for column in rows.columns
            if column not in self._names[location].used
        )
        if self._options.columns is None:
            if len(there) > _MOST_COLUMNS and self._options.table_columns is None:
                raise UsageError(
                    f"manifest {next(iter(self._manifests.values())).name!r}: has {len(there):,} "
                    f"columns to carry, and a table has at most {_MOST_COLUMNS:,}; choose some "
                    "with --columns"
                )
            return self._options.known(tuple(there))
        used = {name for names in self._names.values() for name in names.used}
        if unknown := [c for c in self._options.columns if c not in there and c not in used]:
            raise UsageError(
                f"columns {', '.join(unknown)}: not in "
                f"{', '.join(rows.name for rows in self._manifests.values())}, which can "
                f"carry {brief_list(there)}"
            )
        return self._options.columns

    def skipped(self) -> Counter[str]:
        """None: every row is a clip."""
        return Counter()

    def notes(self) -> list[str]:
        """Return sentences about columns that are not used, though they look like it."""
        return [
            f"manifest {self._manifests[location].name!r}: {note}"
            for location, names in self._names.items()
            for note in names.notes
        ]

    @cached_property
    def _manifests(self) -> dict[str, ManifestRows]:
        """By location; in one order, whichever was named first."""
        expanded = {path for location in self._locations for path in _expand(location)}
        return {name: _read(name, self._options.storage) for name in sorted(expanded)}

    @cached_property
    def _names(self) -> dict[str, ColumnNames]:
        """The columns that name recordings and cut them, by manifest."""
        return {name: self._names_of(rows) for name, rows in self._manifests.items()}

    def _names_of(self, rows: ManifestRows) -> ColumnNames:
        try:
            return name_columns(rows.columns, self._options.audio_column)
        except UsageError as error:
            raise UsageError(f"manifest {rows.name!r}: {error}{rows.hint}") from error

    def _named(self) -> dict[tuple[str, str], _Named]:
        """By uri and member."""
        named: dict[tuple[str, str], _Named] = {}
        columns = self.columns()
        for location, rows in self._manifests.items():
            names = self._names[location]
            folder = base_folder(_folder(location), names.uri, rows, self._options.storage)
            span_from, end = (
                (span_of_duration, names.duration) if names.duration else (span_of, names.end)
            )
            for number, (uri, start_s, end_s, *values) in rows.of(
                (names.uri, names.start, end, *columns)
            ):
                if not isinstance(uri, str) or not uri:
                    raise UsageError(
                        f"{rows.place(number)}: {names.uri} must be a path or a URI "
                        f"(got {brief(uri)})"
                    )
                try:
                    place, read_uri = here = resolve_uri(uri, folder, self._options.query)
                    member, span = span_from(start_s, end_s, names.start, end)
                except UsageError as error:
                    raise UsageError(f"{rows.place(number)}: {error}") from error
                carried = _carried(values, columns, rows, number)
                key = place, member
                known = named.setdefault(key, (read_uri, span, carried, rows, number))
                if known[0] != read_uri:
                    where = f"{known[3].place(known[4])} and {rows.place(number)}"
                    before = ResolvedUri(place, known[0])
                    refuse_hidden_difference(before, here, self._options.query, where)
                if known[2] != carried:
                    raise UsageError(_conflict(key, known, columns, carried, rows.place(number)))
        return named


def _carried(
    values: Sequence[object], columns: Sequence[str], rows: ManifestRows, number: int
) -> tuple[str | None, ...]:
    try:
        carried = tuple(map(as_text, values))
        "".join(text for text in carried if text).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{rows.place(number)}: {brief_list(columns)} cannot all be text: {error}"
        ) from error
    return carried


def _conflict(
    key: tuple[str, str],
    known: _Named,
    columns: Sequence[str],
    carried: Sequence[str | None],
    place: str,
) -> str:
    _, _, before, rows, number = known
    differing = next(i for i in range(len(columns)) if before[i] != carried[i])
    return (
        f"{rows.place(number)} and {place} name the same clip, "
        f"{brief(' '.join(key).strip(), 200)}, with different values of "
        f"{brief(columns[differing])} ({brief(before[differing])}, {brief(carried[differing])}); "
        "leave one row, or choose other columns with --columns"
    )


def _expand(location: str) -> list[str]:
    path = local_path(location)
    if is_remote(location) or os.path.lexists(path) or not glob.has_magic(path):
        return [path]
    matches = glob.glob(path, recursive=True, include_hidden=True)
    if not matches:
        raise UsageError(f"source {location!r}: the glob matches no file")
    return matches


def _folder(location: str) -> str:
    if is_remote(location):
        return folder_of(_without_query(location))
    return os.path.dirname(os.path.abspath(location))


def _without_query(location: str) -> str:
    return location.partition("?")[0] if protocol_of(location) in HTTP_PROTOCOLS else location


def _read(location: str, storage: Storage) -> ManifestRows:
    check_uri(location)
    shown = storage.redact(strip_signature(location))
    ending = manifest_ending(_without_query(location))
    if not ending:
        raise UsageError(
            f"manifest {shown!r}: its name must end in one of {', '.join(READERS)}; that of text "
            "may end in .gz as well"
        )
    return read_rows(shown, ending, _content(location, storage))


def _remote_content(location: str, storage: Storage) -> bytes:
    if protocol_of(location) in HTTP_PROTOCOLS:  # whatever a server sends, it comes to an end
        return b"".join(FsspecObject(location, storage).pieces())
    content: bytes = storage.filesystem(location).cat_file(location)
    return content


def _content(location: str, storage: Storage) -> bytes:
    shown = storage.redact(strip_signature(location))
    try:
        if is_remote(location):
            return storage.retry(f"reading {shown}", lambda: _remote_content(location, storage))
        with open(location, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise UsageError(f"manifest {shown!r}: no such file") from error
    except OSError as error:
        reason = error.strerror or storage.redact(first_line(error))
        raise UsageError(f"manifest {shown!r}: {reason}") from error

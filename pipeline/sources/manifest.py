"""Manifests: files that name recordings, or parts of them, and say something about each.

A row has a `uri` (relative ones begin at the manifest's folder), perhaps `start_s` and `end_s`, and
further columns, which the table carries. A recording that is not there is a clip nevertheless: it
ends in `errors`.
"""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property

from pipeline.clips import ClipRef, Container
from pipeline.errors import UsageError
from pipeline.sources.listing import SourceOptions
from pipeline.sources.lookup import folder_of, located, versions_of
from pipeline.sources.manifest_rows import READERS, ManifestRows, as_text, read_rows
from pipeline.sources.spans import Span, span_of
from pipeline.storage import Storage, first_line, is_uri

MANIFEST_ENDINGS = tuple(READERS)
URI_COLUMN = "uri"
_SPAN_COLUMNS = ("start_s", "end_s")

_Named = tuple[str, Span | None, tuple[str | None, ...], ManifestRows, int]
"""Of one clip: what to read it by, span, carried values, and the row that names it."""


class ManifestSource:
    """CSV with a header, JSONL and Parquet manifests, local (files and globs) or remote.

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
        versions = versions_of(found, self._options.storage)
        return (
            ClipRef(uri, versions[uri], member, span, carried=carried, read_uri=read_uri)
            for (uri, member), (read_uri, span, carried, *_) in named.items()
        )

    def containers(self) -> tuple[Container, ...]:
        """None: what a manifest names are clips."""
        return ()

    def columns(self) -> tuple[str, ...]:
        """Those asked for, else all but `uri`, `start_s` and `end_s`.

        Raises:
            UsageError: the options ask for what no manifest has.
        """
        there = dict.fromkeys(
            column
            for rows in self._manifests.values()
            for column in rows.columns
            if column not in (URI_COLUMN, *_SPAN_COLUMNS)
        )
        if self._options.columns is None:
            return tuple(there)
        if unknown := [column for column in self._options.columns if column not in there]:
            raise UsageError(
                f"columns {', '.join(unknown)}: not in {', '.join(self._manifests)}, which can "
                f"carry {', '.join(there) or 'none'}"
            )
        return self._options.columns

    def skipped(self) -> Counter[str]:
        """None: every row is a clip."""
        return Counter()

    @cached_property
    def _manifests(self) -> dict[str, ManifestRows]:
        """By location; in one order, whichever was named first."""
        expanded = {path for location in self._locations for path in _expand(location)}
        return {name: _read(name, self._options.storage) for name in sorted(expanded)}

    def _named(self) -> dict[tuple[str, str], _Named]:
        """By uri and member."""
        named: dict[tuple[str, str], _Named] = {}
        columns = self.columns()
        for location, rows in self._manifests.items():
            folder = _folder(location)
            for number, (uri, start_s, end_s, *values) in rows.of(
                (URI_COLUMN, *_SPAN_COLUMNS, *columns)
            ):
                if not isinstance(uri, str) or not uri:
                    raise UsageError(
                        f"{rows.place(number)}: uri must be a path or a URI (got {uri!r})"
                    )
                try:
                    place, read_uri = located(uri, folder)
                    member, span = span_of(start_s, end_s)
                except UsageError as error:
                    raise UsageError(f"{rows.place(number)}: {error}") from error
                carried = _carried(values, columns, rows, number)
                key = place, member
                known = named.setdefault(key, (read_uri, span, carried, rows, number))
                if known[2] != carried:
                    raise UsageError(_conflict(key, known, columns, carried, rows.place(number)))
        return named


def _carried(
    values: Sequence[object], columns: Sequence[str], rows: ManifestRows, number: int
) -> tuple[str | None, ...]:
    try:
        carried = tuple(map(as_text, values))
        "".join(text for text in carried if text).encode()
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{rows.place(number)}: {', '.join(columns)} cannot all be text: {error}"
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
        f"{rows.place(number)} and {place} name the same clip, {' '.join(key).strip()!r}, with "
        f"different values of {columns[differing]!r} ({before[differing]!r}, "
        f"{carried[differing]!r}); leave one row, or choose other columns with --columns"
    )


def _expand(location: str) -> list[str]:
    if is_uri(location) or os.path.lexists(location) or not glob.has_magic(location):
        return [location]
    matches = glob.glob(location, recursive=True, include_hidden=True)
    if not matches:
        raise UsageError(f"source {location!r}: the glob matches no file")
    return matches


def _folder(location: str) -> str:
    if is_uri(location):
        return folder_of(location)
    return os.path.dirname(os.path.abspath(location))


def _read(location: str, storage: Storage) -> ManifestRows:
    ending = os.path.splitext(location)[1].lower()
    if ending not in MANIFEST_ENDINGS:
        raise UsageError(
            f"manifest {location!r}: its name must end in one of {', '.join(MANIFEST_ENDINGS)}"
        )
    rows = read_rows(location, ending, _content(location, storage))
    if URI_COLUMN not in rows.columns:
        raise UsageError(
            f"manifest {location!r}: has no column {URI_COLUMN!r}, it has "
            f"{', '.join(rows.columns) or 'none'}; rename the one that holds paths or URIs"
        )
    return rows


def _content(location: str, storage: Storage) -> bytes:
    try:
        if is_uri(location):
            files = storage.filesystem(location)
            content: bytes = storage.tried(f"reading {location}", lambda: files.cat_file(location))
            return content
        with open(location, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise UsageError(f"manifest {storage.redacted(location)!r}: no such file") from error
    except OSError as error:
        reason = error.strerror or storage.redacted(first_line(error))
        raise UsageError(f"manifest {storage.redacted(location)!r}: {reason}") from error

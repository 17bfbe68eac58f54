"""Reads manifests of JSON objects: one object per line, or an array of objects."""

import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence

from pipeline.errors import UsageError
from pipeline.sources.manifests import lhotse
from pipeline.sources.manifests.column_names import has_uri_column
from pipeline.sources.manifests.manifest_rows import (
    ManifestRows,
    RowValues,
    unreadable_manifest,
)
from pipeline.sources.manifests.manifest_text import not_utf8_message
from pipeline.wording import brief_list

_TOO_DEEP = "is nested too deeply"


def read_jsonl_rows(name: str, content: bytes) -> ManifestRows:
    """Read a manifest with one JSON object per line; blank lines are ignored.

    Args:
        name: Name of the manifest, for messages.
        content: Content of the manifest, in UTF-8.

    Raises:
        UsageError: A line is not UTF-8, or is not a JSON object that can be a row.
    """

    def parse_lines() -> Iterator[tuple[int, object]]:
        for number, line in enumerate(io.BytesIO(content), 1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line.decode())
            except UnicodeDecodeError as error:
                message = not_utf8_message(f"manifest {name!r}, line {number}", line)
                raise UsageError(message) from error
            except ValueError as error:
                raise unreadable_manifest(name, f"line {number}: {error}") from error
            except RecursionError as error:
                raise unreadable_manifest(name, f"line {number}: {_TOO_DEEP}") from error

    return _object_rows(name, "line", parse_lines)


def read_json_rows(name: str, content: bytes) -> ManifestRows:
    """Read a JSON manifest: an array of objects or paths, a single object, or one object per line.

    NeMo gives the ending `.json` to manifests with one object per line.

    Args:
        name: Name of the manifest, for messages.
        content: Content of the manifest, in UTF-8.

    Raises:
        UsageError: The content is not JSON, or has no objects that can be rows.
    """
    try:
        whole = json.loads(content.decode())
    except RecursionError as error:
        raise unreadable_manifest(name, _TOO_DEEP) from error
    except ValueError:  # not a single JSON value, so it may have one per line
        return read_jsonl_rows(name, content)
    if isinstance(whole, list):
        items = [{"uri": each} if isinstance(each, str) else each for each in whole]
        return _object_rows(name, "item", lambda: enumerate(items, 1))
    if isinstance(whole, dict):
        rows = _object_rows(name, "item", lambda: [(1, whole)])
        if has_uri_column(rows.columns):
            return rows
        raise UsageError(
            f"manifest {name!r}: is one JSON object ({brief_list(map(str, whole), 3)}); "
            "write one object per line, or an array of objects, with a column uri"
        )
    raise unreadable_manifest(name, "is not a JSON object")


def _object_rows(
    name: str, unit: str, parse_items: Callable[[], Iterable[tuple[int, object]]]
) -> ManifestRows:
    """Return the rows of a manifest of JSON objects.

    Args:
        name: Name of the manifest.
        unit: Unit in which the objects are numbered.
        parse_items: Function that returns all objects with their numbers, each time from the first.

    Raises:
        UsageError: An item is not a JSON object, or is an object of Lhotse that is refused.
    """

    def read_objects() -> Iterator[tuple[int, lhotse.Fields]]:
        for number, fields in parse_items():
            if not isinstance(fields, dict):
                raise unreadable_manifest(name, f"{unit} {number}: is not a JSON object")
            try:
                yield number, lhotse.convert_row(fields)
            except UsageError as error:
                raise UsageError(f"manifest {name!r}, {unit} {number}: {error}") from error

    def read(columns: Sequence[str]) -> Iterator[tuple[int, RowValues]]:
        return ((number, tuple(map(fields.get, columns))) for number, fields in read_objects())

    columns = dict.fromkeys(key for _, fields in read_objects() for key in fields)
    return ManifestRows(name, unit, tuple(columns), read)

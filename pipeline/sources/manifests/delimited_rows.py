"""Reads manifests that are text tables: a header, and cells separated by a delimiter."""

import csv
import io
from collections.abc import Iterator, Sequence

from pipeline.errors import UsageError
from pipeline.sources.manifests.delimiters import (
    TAB,
    delimiter_hint,
    find_delimiter,
    unquote_rows,
)
from pipeline.sources.manifests.manifest_rows import (
    ManifestRows,
    RowValues,
    check_unique_columns,
    unreadable_manifest,
)
from pipeline.sources.manifests.manifest_text import not_utf8_message

_MAX_HEADER_BYTES = 1 << 20


def read_delimited_rows(name: str, content: bytes, default: str) -> ManifestRows:
    """Read a text table.

    Args:
        name: Name of the manifest, for messages.
        content: Content of the manifest, in UTF-8.
        default: Delimiter that goes with the ending of the name.

    Raises:
        UsageError: The header is damaged or has a column twice. Errors in later lines are raised
            when the rows are read.
    """
    first_line, n_skipped = read_first_line(name, content), 0
    delimiter = find_delimiter(first_line, default)
    if first_line.lower().startswith("sep=") and len(first_line) == 5:  # Excel writes this line
        delimiter, n_skipped = first_line[4], 1

    def read_lines() -> Iterator[tuple[int, list[str]]]:
        text = io.TextIOWrapper(io.BytesIO(content), "utf-8", newline="")
        for _ in range(n_skipped):
            text.readline()
        # Common Voice and other tables with tabs do not quote.
        is_quoted = delimiter != TAB or first_line.startswith('"')
        if is_quoted:
            reader = csv.reader(text, strict=True, delimiter=delimiter)
        else:
            reader = csv.reader(text, strict=True, delimiter=delimiter, quoting=csv.QUOTE_NONE)
        rows = reader if is_quoted else unquote_rows(reader)
        try:
            for cells in rows:
                if cells:
                    yield reader.line_num + n_skipped, cells
        except UnicodeDecodeError as error:
            raise UsageError(_find_bad_line(name, content)) from error
        except csv.Error as error:
            number = reader.line_num + n_skipped
            raise unreadable_manifest(name, f"after line {number}: {error}") from error

    _, header = next(read_lines(), (1, []))
    check_unique_columns(name, header)

    def read(columns: Sequence[str]) -> Iterator[tuple[int, RowValues]]:
        indices = [header.index(column) if column in header else None for column in columns]
        lines = read_lines()
        next(lines, None)
        for number, cells in lines:
            if len(cells) != len(header):
                raise unreadable_manifest(
                    name, f"line {number}: has {len(cells)} cells, but the header has {len(header)}"
                )
            yield number, tuple(None if i is None else cells[i] or None for i in indices)

    return ManifestRows(name, "line", tuple(header), read, delimiter_hint(header))


def read_first_line(name: str, content: bytes) -> str:
    """Return the first line of a text, up to 1 MiB, without its line ending.

    Args:
        name: Name of the manifest, for messages.
        content: Content of the manifest.

    Raises:
        UsageError: The line is not UTF-8.
    """
    line = next(iter(content[:_MAX_HEADER_BYTES].splitlines()), b"")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise UsageError(not_utf8_message(f"manifest {name!r}, line 1", line)) from error


def _find_bad_line(name: str, content: bytes) -> str:
    """Return the message about the first line that is not UTF-8."""
    for number, line in enumerate(io.BytesIO(content), 1):
        try:
            line.decode()
        except UnicodeDecodeError:
            return not_utf8_message(f"manifest {name!r}, line {number}", line)
    return f"manifest {name!r}: is not UTF-8"

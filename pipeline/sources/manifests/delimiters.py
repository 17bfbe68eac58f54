"""Finds the delimiter of a text table by its header, and undoes quotes in tables with tabs."""

import csv
from collections.abc import Iterator, Sequence

from pipeline.sources.manifests.column_names import has_uri_column

COMMA, TAB = ",", "\t"
_DELIMITERS = (COMMA, TAB, ";", "|")
_SHOWN = {COMMA: "a comma", TAB: "a tab", ";": "';'", "|": "'|'"}


def find_delimiter(header: str, default: str) -> str:
    """Return the delimiter that splits a header into columns, one of which names recordings.

    Args:
        header: First line of the table.
        default: Delimiter to try first, and the result if none gives such a column.
    """
    for delimiter in (default, *_DELIMITERS):
        if has_uri_column(split_header(header, delimiter)):
            return delimiter
    return default


def delimiter_hint(columns: Sequence[str]) -> str:
    """Return the end of a message about columns whose names contain a delimiter; else ""."""
    found = [each for each in _DELIMITERS if any(each in column for column in columns)]
    return f"; it seems to be delimited by {_SHOWN[found[0]]}" if found else ""


def split_header(header: str, delimiter: str) -> list[str]:
    """Split a header into its cells."""
    try:
        return next(csv.reader([header], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return header.split(delimiter)


def unquote_rows(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """Yield rows that were read without quoting, with the quotes of quoted cells removed.

    Common Voice writes `"` literally. Other tools quote a cell that contains it, and double it
    inside. Only a cell that starts and ends with `"`, and in which all others are doubled, counts
    as quoted.
    """
    for cells in rows:
        yield [_unquote(cell) if cell[:1] == '"' else cell for cell in cells]


def _unquote(cell: str) -> str:
    inside = cell[1:-1]
    is_quoted = len(cell) > 1 and cell[-1] == '"' and '""' in inside
    return inside.replace('""', '"') if is_quoted and '"' not in inside.replace('""', "") else cell

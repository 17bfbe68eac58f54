"""The delimiter of a table in text: found by its header, and named where it is refused."""

import csv
from collections.abc import Iterator, Sequence

from pipeline.sources.manifests.column_names import has_uri_column

COMMA, TAB = ",", "\t"
_DELIMITERS = (COMMA, TAB, ";", "|")
_NAMES = {COMMA: "a comma", TAB: "a tab", ";": "';'", "|": "'|'"}


def find_delimiter(header: str, first: str) -> str:
    """Return the delimiter with which the header has a column of recordings.

    Args:
        header: The first line.
        first: The delimiter that goes with the ending of the file's name; it is also the answer
            where none fits.
    """
    for delimiter in (first, *_DELIMITERS):
        if has_uri_column(split_header(header, delimiter)):
            return delimiter
    return first


def other_delimiter(columns: Sequence[str]) -> str:
    """Return a sentence on a delimiter that stands within the names of columns, or nothing."""
    found = [each for each in _DELIMITERS if any(each in column for column in columns)]
    return f"; it seems to be delimited by {_NAMES[found[0]]}" if found else ""


def split_header(header: str, delimiter: str) -> list[str]:
    """Return the cells of a header."""
    try:
        return next(csv.reader([header], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return header.split(delimiter)


def unquoted(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """Yield rows that were read without quoting, with cells that were quoted as they were meant.

    Common Voice writes `"` as it is; others quote a cell that has one, and double it within.
    """
    for cells in rows:
        yield [_unquoted(cell) if cell[:1] == '"' else cell for cell in cells]


def _unquoted(cell: str) -> str:
    inside = cell[1:-1]
    is_quoted = len(cell) > 1 and cell[-1] == '"' and '""' in inside
    return inside.replace('""', '"') if is_quoted and '"' not in inside.replace('""', "") else cell

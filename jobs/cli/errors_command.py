"""The command `passtream errors`, which shows the clips that could not be embedded, and why."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from jobs.cli.options import StorageOptions, StoreTimeout, console
from jobs.runtime.error_text import class_text, error_text
from jobs.runtime.terminal import print_line
from pipeline.error_classes import check_error_classes
from pipeline.errors import UsageError
from pipeline.io.storage import DEFAULT_TIMEOUT_S, Storage
from pipeline.io.storage_options import parse_options
from pipeline.printable import escape_control
from pipeline.wording import count

if TYPE_CHECKING:
    # Imported only where it is used, because pyarrow is slow to import.
    from pipeline.maintenance.error_rows import ErrorCounts, ErrorRow

Form = Literal["text", "json", "csv"]
MAX_SORTED_ROWS = 10_000
"""Greatest number of rows that are sorted by class and name; more rows keep the table's order."""


def errors(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Folder or URI of the table.")],
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="CLASS",
            help="Show only errors of this class; repeatable, or several separated by commas.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per row.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the rows as CSV.")] = False,
    limit: Annotated[
        int | None, typer.Option(min=0, help="Greatest number of rows to print; default: all.")
    ] = None,
    storage_options: StorageOptions = None,
    store_timeout_s: StoreTimeout = DEFAULT_TIMEOUT_S,
) -> None:
    """Show which clips of TABLE could not be embedded, and why. Changes nothing."""
    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other; give one of them")
    storage = Storage(parse_options(storage_options or ()), store_timeout_s)
    names = [name.strip() for each in classes or () for name in each.split(",")]
    form: Form = "json" if as_json else "csv" if as_csv else "text"
    show_errors(table, names, form, limit, console(sys.stdout), storage)


def show_errors(
    location: str,
    classes: list[str],
    form: Form,
    limit: int | None,
    out: Console,
    storage: Storage,
) -> None:
    """Print the errors of a table.

    Args:
        location: Folder or URI of the table.
        classes: Error classes to show; empty for all classes.
        form: `text` with counts first, or rows only as `json` or `csv`.
        limit: Greatest number of rows; None for all.
        out: Console to print to.
        storage: Options and timeouts for remote locations.

    Raises:
        UsageError: There is no table at the location, or an error class is unknown.
        StoreError: The table cannot be read.
    """
    from pipeline.maintenance.error_rows import ERROR_COLUMNS, count_errors, read_errors
    from pipeline.table.store.open_store import open_store
    from pipeline.table.table import Table

    table = Table.existing(open_store(location, storage))
    counts = count_errors(table)
    check_error_classes(classes, also=counts.classes)
    rows = read_errors(table, counts, frozenset(classes))
    n_rows = sum(n for name, n in counts.classes.items() if not classes or name in classes)
    if n_rows <= MAX_SORTED_ROWS:
        rows = iter(sorted(rows, key=lambda row: (row["class"], row["uri"], row["member"])))
    shown = islice(
        ({name: _redact_field(row, name, storage) for name in ERROR_COLUMNS} for row in rows), limit
    )
    if form == "json":
        for row in shown:
            out.file.write(json.dumps(row) + "\n")
    elif form == "csv":
        writer = csv.DictWriter(out.file, ERROR_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {name: escape_control(text) for name, text in row.items()} for row in shown
        )
    else:
        for line, indent in _text_lines(table.store.location, counts, classes, shown):
            print_line(out, line, indent)
        if limit is not None and n_rows > limit:
            print_line(
                out, f"and {count(n_rows - limit, 'further error')}; --limit {limit} is reached"
            )


def _text_lines(
    location: str, counts: ErrorCounts, classes: list[str], rows: Iterator[ErrorRow]
) -> Iterator[tuple[str, int]]:
    """Yield the lines of the text form, each with the indent of its continuation lines."""
    total = counts.classes.total()
    yield f"{location}: {count(total, 'error')} of {count(counts.clips, 'clip')}", 4
    for name, n in sorted(counts.classes.items()):
        if not classes or name in classes:
            yield f"  {class_text(name, n)}", 4
    heading = ""
    for row in rows:
        if row["class"] != heading:
            heading = row["class"]
            yield "", 0
            yield f"{heading}:", 0
        yield f"  {error_text(row)}", 4


def _redact_field(row: ErrorRow, name: str, storage: Storage) -> str:
    return storage.redact(row[name] or "")

"""The command `passtream status`, which reports the progress of the last run into a table."""

import sys
from typing import Annotated

import typer

from jobs.cli.options import StorageOptions, StoreTimeout, console
from pipeline.io.storage import DEFAULT_TIMEOUT_S, Storage
from pipeline.io.storage_options import parse_options


def status(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Folder or URI of the table.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the status as JSON.")] = False,
    storage_options: StorageOptions = None,
    store_timeout_s: StoreTimeout = DEFAULT_TIMEOUT_S,
) -> None:
    """Show progress, speed and failures of the last run into TABLE. Changes nothing."""
    from jobs.cli.status_text import show_status  # imports pyarrow

    storage = Storage(parse_options(storage_options or ()), store_timeout_s)
    show_status(table, as_json, console(sys.stdout), storage)

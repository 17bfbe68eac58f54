"""The command `passtream verify`; `verify_text` runs it and prints its report."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from jobs.cli.options import console
from jobs.cli.settings_options import settings_options
from jobs.settings.host_rules import RULE_NAMES
from jobs.settings.load_config import read_config
from pipeline.io.storage import Storage
from pipeline.io.storage_options import parse_options
from pipeline.sources.listing import SourceOptions

_SOURCE_SETTINGS = (
    "source_format",
    "include",
    "exclude",
    "follow_links",
    "audio_column",
    *RULE_NAMES,
)


@settings_options(only=(*_SOURCE_SETTINGS, "storage_options", "store_timeout_s"))
def verify(
    settings: Mapping[str, Any],
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Folder or URI of the table.")],
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="Also check that the table has exactly the clips of this source; repeatable."
        ),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="First remove leftovers of killed runs; commits are not changed."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check that TABLE has every clip once and that every row is valid. Exit code 0 or 1."""
    from jobs.cli.verify_text import run_verify  # imports pyarrow

    config = read_config(None, settings)
    options = SourceOptions(
        format=config.source_format,
        include=config.include,
        exclude=config.exclude,
        follow_links=config.follow_links,
        audio_column=config.audio_column,
        storage=Storage(parse_options(config.storage_options), config.store_timeout_s),
    )
    rules = {name: settings[name] for name in RULE_NAMES}
    sources = tuple(source or ())
    out = console(sys.stdout)
    raise typer.Exit(run_verify(table, sources, as_json, out, options, repair, rules))

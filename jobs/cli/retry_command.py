"""The command `passtream retry`, which repeats the last run of a table and retries its errors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.embed_command import start_embed
from jobs.cli.settings_options import settings_options
from jobs.settings.config import RETRY_ALL
from jobs.settings.host_rules import RULE_NAMES
from jobs.settings.load_config import read_config
from jobs.settings.parsing import join_names

_CHANGEABLE = (
    *RULE_NAMES,
    "weights",
    "actors",
    "gpus_per_actor",
    "address",
    "storage_options",
    "store_timeout_s",
    "in_process",
    "log_format",
)
"""Settings that may differ from those of the last run, because they do not change a clip's row."""


@settings_options(only=_CHANGEABLE)
def retry(
    settings: Mapping[str, Any],
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Folder or URI of the table.")],
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            help="Retry only errors of these classes, separated by commas; repeatable.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file of settings, which override those of the last run."),
    ] = None,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", help="Accept the sources of a table whose settings another user wrote."
        ),
    ] = False,
) -> None:
    """Retry the clips that failed in TABLE, with the sources and settings of its last run.

    New and changed clips of the sources are embedded as well, as by `embed`. If another user wrote
    the table's settings, its sources are shown first, and you are asked to accept them.
    """
    options = {**settings, "table": table, "retry": join_names(classes) or RETRY_ALL}

    def load_last_settings() -> dict[str, object]:
        from jobs.settings.saved_settings import load_settings  # imports pyarrow
        from pipeline.table.store.open_store import open_store
        from pipeline.table.table import Table

        given = {name: settings[name] for name in ("storage_options", "store_timeout_s")}
        storage = read_config(None, given).storage
        return load_settings(Table.existing(open_store(table, storage)).store, is_agreed=yes)

    raise typer.Exit(start_embed(config, options, load_last_settings))

"""`passtream retry TABLE`: the last run's `embed` once more, with what failed tried again."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.embed_command import start_embed
from jobs.cli.options import (
    Actors,
    Address,
    AllowHosts,
    GivenStoreTimeout,
    GpusPerActor,
    InProcess,
    KeepQuery,
    LogFormat,
    NoLocal,
    StorageOptions,
    StripQuery,
    Weights,
)
from jobs.settings.config import RETRY_ALL
from jobs.settings.load_config import read_config
from jobs.settings.parsing import added_up


def retry(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Folder or URI of the table.")],
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            help="Of these classes only, with commas between; repeatable.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file of settings, which win over those of the last run."),
    ] = None,
    allow_hosts: AllowHosts = None,
    no_local: NoLocal = None,
    keep_query: KeepQuery = None,
    strip_query: StripQuery = None,
    weights: Weights = None,
    actors: Actors = None,
    gpus_per_actor: GpusPerActor = None,
    address: Address = None,
    storage_options: StorageOptions = None,
    store_timeout_s: GivenStoreTimeout = None,
    in_process: InProcess = None,
    log_format: LogFormat = None,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", help="Agree to the sources of a table whose settings you did not write."
        ),
    ] = False,
) -> None:
    """Try the clips in TABLE's errors again, with the sources and settings of its last run.

    What is new in the sources, or has changed, is embedded as well, as by `embed`. Where another
    user wrote the table's settings, its sources are shown first, and need a yes.
    """
    options = {name: value for name, value in locals().items() if name not in _OWN}
    options |= {"retry": added_up(classes) or RETRY_ALL, "storage_options": storage_options or None}

    def of_last_run() -> dict[str, object]:
        from jobs.settings.saved_settings import noted_settings  # imports pyarrow
        from pipeline.table.store.open_store import open_store
        from pipeline.table.table import Table

        given = {"storage_options": storage_options or None, "store_timeout_s": store_timeout_s}
        storage = read_config(None, given).storage
        return noted_settings(Table.existing(open_store(table, storage)).store, is_agreed=yes)

    raise typer.Exit(start_embed(config, options, of_last_run))


_OWN = {"config", "classes", "yes"}

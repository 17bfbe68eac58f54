"""The command `passtream embed`, and the start of a run for `embed` and `retry`."""

import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.options import console
from jobs.cli.settings_options import settings_options
from jobs.runtime.run_log import RunLog, json_log
from jobs.runtime.stop_signals import stop_signals
from jobs.settings.load_config import load_config, wants_json
from jobs.settings.sent_config import remove_sent_config


@settings_options()
def embed(
    settings: Mapping[str, Any],
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE... TABLE",
            help="Folders, files, globs, tars, Parquet files or manifests, as paths or URIs; or - "
            "for standard input. Then the folder or URI of the table.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file with these settings; options override it."),
    ] = None,
) -> None:
    """Embed SOURCE... into TABLE, or continue where a run of the same command ended."""
    arguments = {"sources": tuple(paths[:-1]), "table": paths[-1]} if paths else {}
    raise typer.Exit(start_embed(config, {**settings, **arguments}))


def start_embed(
    path: Path | None,
    options: Mapping[str, Any],
    base: Callable[[], Mapping[str, Any]] = dict,
) -> int:
    """Run `passtream embed` with the log format that the settings select.

    Args:
        path: YAML file of settings, or None.
        options: Settings given as options, by field name; None for those not given.
        base: Function that returns settings which the file and the options override.

    Returns:
        The exit code.

    Raises:
        UsageError: A setting, source or table is invalid; nothing was started.
        ModelError: The model cannot be loaded; nothing was started.
    """
    as_json = wants_json(path, options)
    with (
        json_log() if as_json else nullcontext(RunLog(console(sys.stderr))) as log,
        stop_signals() as stop,
    ):
        config = load_config(path, options, base())
        if path is not None:
            remove_sent_config(path)
        from jobs.embed.run import run_embed  # imports torch, which takes seconds

        return run_embed(config, console(sys.stdout, quiet=as_json), log, stop)

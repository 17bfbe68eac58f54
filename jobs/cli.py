"""The `passtream` command: options in, exit code out; errors as one line on standard error."""

import itertools
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from jobs.bench import bench_app
from jobs.config import EmbedConfig
from jobs.configure import load_config, wants_json
from jobs.logs import RunLog, exit_code, json_log
from jobs.models import models_app
from jobs.stop import stop_signals
from jobs.values import split_commas
from models.errors import ModelError
from pipeline.errors import PipelineError, UsageError
from pipeline.sources.listing import AUTO, SourceOptions
from pipeline.storage import DEFAULT_TIMEOUT_S, Storage, parse_options

app = typer.Typer(
    name="passtream",
    help="Turn a corpus of audio into Parquet tables of PaSST embeddings.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
app.add_typer(models_app, name="models")
app.add_typer(bench_app, name="bench")
_SOURCE, _MODEL, _WINDOWS, _CLIPS = "Source", "Model", "Windows", "Clips"
_OUTPUT, _RUN = "Table", "Where it runs"
# Not by its name: Typer has click within, in some versions beside it.
_BadOption: Any = typer.BadParameter.__mro__[1]


def _option(field: str, flag: str, panel: str, **kwargs: Any) -> Any:
    """An option whose help and default are those of the settings field."""
    info = EmbedConfig.model_fields[field]
    default = ",".join(info.default) if isinstance(info.default, tuple) else str(info.default)
    help_text = info.description or ""
    if info.annotation is not bool and info.default not in (None, ()):
        help_text += f" [default: {default}]"
    help_text = help_text.replace("[", "\\[")
    return typer.Option(flag, help=help_text, rich_help_panel=panel, show_default=False, **kwargs)


@app.callback()
def _root() -> None:
    pass


@app.command()
def embed(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE... TABLE",
            help="Folders, files, globs, tars, Parquet or manifests, as paths or URIs, or -; then "
            "the folder or URI of the table.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file of these settings; given options win over it."),
    ] = None,
    source_format: Annotated[
        str | None, _option("source_format", "--source-format", _SOURCE)
    ] = None,
    include: Annotated[str | None, _option("include", "--include", _SOURCE)] = None,
    exclude: Annotated[str | None, _option("exclude", "--exclude", _SOURCE)] = None,
    columns: Annotated[str | None, _option("columns", "--columns", _SOURCE)] = None,
    audio_column: Annotated[str | None, _option("audio_column", "--audio-column", _SOURCE)] = None,
    arch: Annotated[str | None, _option("arch", "--arch", _MODEL)] = None,
    weights: Annotated[str | None, _option("weights", "--weights", _MODEL)] = None,
    precision: Annotated[str | None, _option("precision", "--precision", _MODEL)] = None,
    long_clips: Annotated[str | None, _option("long_clips", "--long-clips", _WINDOWS)] = None,
    window_s: Annotated[float | None, _option("window_s", "--window-s", _WINDOWS)] = None,
    hop_s: Annotated[float | None, _option("hop_s", "--hop-s", _WINDOWS)] = None,
    padding: Annotated[str | None, _option("padding", "--padding", _WINDOWS)] = None,
    pad_short: Annotated[
        bool | None, _option("pad_short", "--pad-short/--no-pad-short", _WINDOWS)
    ] = None,
    max_clip_s: Annotated[float | None, _option("max_clip_s", "--max-clip-s", _CLIPS)] = None,
    max_clip_bytes: Annotated[
        int | None, _option("max_clip_bytes", "--max-clip-bytes", _CLIPS)
    ] = None,
    short_tolerance: Annotated[
        float | None, _option("short_tolerance", "--short-tolerance", _CLIPS)
    ] = None,
    tables: Annotated[str | None, _option("tables", "--tables", _OUTPUT)] = None,
    outputs: Annotated[str | None, _option("outputs", "--outputs", _OUTPUT)] = None,
    top_k: Annotated[int | None, _option("top_k", "--top-k", _OUTPUT)] = None,
    timestamps: Annotated[str | None, _option("timestamps", "--timestamps", _OUTPUT)] = None,
    max_error_ratio: Annotated[
        float | None, _option("max_error_ratio", "--max-error-ratio", _OUTPUT)
    ] = None,
    shard_clips: Annotated[int | None, _option("shard_clips", "--shard-clips", _RUN)] = None,
    actors: Annotated[str | None, _option("actors", "--actors", _RUN)] = None,
    gpus_per_actor: Annotated[
        float | None, _option("gpus_per_actor", "--gpus-per-actor", _RUN)
    ] = None,
    actor_timeout_s: Annotated[
        float | None, _option("actor_timeout_s", "--actor-timeout-s", _RUN)
    ] = None,
    address: Annotated[str | None, _option("address", "--address", _RUN)] = None,
    storage_options: Annotated[
        list[str] | None, _option("storage_options", "--storage-options", _RUN)
    ] = None,
    store_timeout_s: Annotated[
        float | None, _option("store_timeout_s", "--store-timeout-s", _RUN)
    ] = None,
    in_process: Annotated[bool | None, _option("in_process", "--in-process/--on-ray", _RUN)] = None,
    log_format: Annotated[str | None, _option("log_format", "--log-format", _RUN)] = None,
) -> None:
    """Embed SOURCE... into TABLE, or go on where a run of the same command ended."""
    options = {name: value for name, value in locals().items() if name not in ("paths", "config")}
    options["storage_options"] = storage_options or None
    if paths:
        options |= {"sources": tuple(paths[:-1]), "table": paths[-1]}
    as_json = wants_json(config, options)
    with (
        json_log() if as_json else nullcontext(RunLog(_console(sys.stderr))) as log,
        stop_signals() as stop,
    ):
        settings = load_config(config, options)
        from jobs.embed import run_embed  # imports torch, which takes seconds

        code = run_embed(settings, _console(sys.stdout, quiet=as_json), log, stop)
    raise typer.Exit(code)


_StorageOptions = Annotated[list[str] | None, _option("storage_options", "--storage-options", _RUN)]
_StoreTimeout = Annotated[float, _option("store_timeout_s", "--store-timeout-s", _RUN, min=0.1)]


@app.command()
def verify(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Folder or URI of the table.")],
    source: Annotated[
        list[str] | None,
        typer.Option(help="Also check that the table holds exactly this source; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    source_format: Annotated[str, _option("source_format", "--source-format", _SOURCE)] = AUTO,
    include: Annotated[str, _option("include", "--include", _SOURCE)] = "",
    exclude: Annotated[str, _option("exclude", "--exclude", _SOURCE)] = "",
    audio_column: Annotated[str | None, _option("audio_column", "--audio-column", _SOURCE)] = None,
    storage_options: _StorageOptions = None,
    store_timeout_s: _StoreTimeout = DEFAULT_TIMEOUT_S,
) -> None:
    """Prove that TABLE is whole: every clip once, every row sound. Exit code 0 or 1."""
    from jobs.verify import run_verify

    options = SourceOptions(
        format=source_format,
        include=split_commas(include),
        exclude=split_commas(exclude),
        audio_column=audio_column,
        storage=Storage(parse_options(storage_options or ()), store_timeout_s),
    )
    raise typer.Exit(run_verify(table, tuple(source or ()), as_json, _console(sys.stdout), options))


@app.command()
def status(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Folder or URI of the table.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    storage_options: _StorageOptions = None,
    store_timeout_s: _StoreTimeout = DEFAULT_TIMEOUT_S,
) -> None:
    """Tell how far the last run into TABLE is, how fast, and what failed. Changes nothing."""
    from jobs.status import show_status

    storage = Storage(parse_options(storage_options or ()), store_timeout_s)
    show_status(table, as_json, _console(sys.stdout), storage)


def _console(stream: Any, quiet: bool = False) -> Console:
    # Uris hold brackets and numbers: neither markup nor colouring may touch them.
    return Console(file=stream, markup=False, highlight=False, soft_wrap=True, quiet=quiet)


def main() -> None:
    """Run the command; the entry point of the package."""
    # A log in JSON has wrong options as well, which are found before it is known what they ask for.
    pairs = itertools.pairwise(sys.argv)
    as_json = "--log-format=json" in sys.argv or ("--log-format", "json") in pairs
    try:
        sys.exit(app(standalone_mode=not as_json))
    except (PipelineError, ModelError) as error:
        print(f"passtream: {error}", file=sys.stderr)
        sys.exit(exit_code(error))
    except _BadOption as error:
        with json_log():
            raise UsageError(error.format_message()) from error


if __name__ == "__main__":
    main()

"""The `passtream` command: options in, exit code out; errors as one line on standard error."""

import io
import itertools
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.bench_commands import bench_app
from jobs.cli.embed_command import start_embed
from jobs.cli.errors_command import errors
from jobs.cli.examples import examples
from jobs.cli.job_commands import job_app, submit
from jobs.cli.models_commands import models_app
from jobs.cli.options import (
    SOURCE,
    Actors,
    ActorTimeoutS,
    Address,
    AllowHosts,
    Arch,
    AudioColumn,
    Columns,
    DecoderMemory,
    Exclude,
    FollowLinks,
    GivenStoreTimeout,
    GpusPerActor,
    HopS,
    Include,
    InProcess,
    KeepQuery,
    LogFormat,
    LongClips,
    MaxClipBytes,
    MaxClipS,
    MaxErrorRatio,
    MaxPruneRatio,
    NewSpec,
    NoLocal,
    Outputs,
    Padding,
    PadShort,
    Precision,
    Prune,
    Retry,
    ShardClips,
    ShortTolerance,
    SourceFormat,
    StorageOptions,
    StoreTimeout,
    StripQuery,
    Tables,
    Timestamps,
    TopK,
    Weights,
    WindowS,
    console,
    option,
)
from jobs.cli.plan_command import plan
from jobs.cli.retry_command import retry
from jobs.runtime.run_log import exit_code, json_log
from jobs.runtime.terminal import print_line
from models.errors import ModelError
from pipeline.errors import PipelineError, UsageError
from pipeline.io.storage import DEFAULT_TIMEOUT_S, Storage, parse_options
from pipeline.sources.listing import AUTO, SourceOptions

app = typer.Typer(
    name="passtream",
    help="Turn a corpus of audio into Parquet tables of PaSST embeddings.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(""),
    pretty_exceptions_show_locals=False,
)
# Not by its name: Typer has click within, in some versions beside it.
_BadOption: Any = typer.BadParameter.__mro__[1]


def _show_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        print(f"passtream {version('passtream')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


@app.command(epilog=examples("embed"))
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
    source_format: SourceFormat = None,
    include: Include = None,
    exclude: Exclude = None,
    follow_links: FollowLinks = None,
    columns: Columns = None,
    audio_column: AudioColumn = None,
    allow_hosts: AllowHosts = None,
    no_local: NoLocal = None,
    keep_query: KeepQuery = None,
    strip_query: StripQuery = None,
    arch: Arch = None,
    weights: Weights = None,
    precision: Precision = None,
    long_clips: LongClips = None,
    window_s: WindowS = None,
    hop_s: HopS = None,
    padding: Padding = None,
    pad_short: PadShort = None,
    max_clip_s: MaxClipS = None,
    max_clip_bytes: MaxClipBytes = None,
    decoder_memory: DecoderMemory = None,
    short_tolerance: ShortTolerance = None,
    tables: Tables = None,
    outputs: Outputs = None,
    top_k: TopK = None,
    timestamps: Timestamps = None,
    max_error_ratio: MaxErrorRatio = None,
    prune: Prune = None,
    max_prune_ratio: MaxPruneRatio = None,
    retry: Retry = None,
    new_spec: NewSpec = None,
    shard_clips: ShardClips = None,
    actors: Actors = None,
    gpus_per_actor: GpusPerActor = None,
    actor_timeout_s: ActorTimeoutS = None,
    address: Address = None,
    storage_options: StorageOptions = None,
    store_timeout_s: GivenStoreTimeout = None,
    in_process: InProcess = None,
    log_format: LogFormat = None,
) -> None:
    """Embed SOURCE... into TABLE, or go on where a run of the same command ended."""
    options = {name: value for name, value in locals().items() if name not in ("paths", "config")}
    options["storage_options"] = storage_options or None
    if paths:
        options |= {"sources": tuple(paths[:-1]), "table": paths[-1]}
    raise typer.Exit(start_embed(config, options))


app.command(epilog=examples("plan"))(plan)
app.command(epilog=examples("errors"))(errors)
app.command(epilog=examples("retry"))(retry)


@app.command(epilog=examples("verify"))
def verify(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Folder or URI of the table.")],
    source: Annotated[
        list[str] | None,
        typer.Option(help="Also check that the table holds exactly this source; repeatable."),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="First remove what a killed run has left; commits stay as they are."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    source_format: Annotated[str, option("source_format", "--source-format", SOURCE)] = AUTO,
    include: Include = None,
    exclude: Exclude = None,
    follow_links: FollowLinks = None,
    audio_column: Annotated[str | None, option("audio_column", "--audio-column", SOURCE)] = None,
    allow_hosts: AllowHosts = None,
    no_local: NoLocal = None,
    keep_query: KeepQuery = None,
    strip_query: StripQuery = None,
    storage_options: StorageOptions = None,
    store_timeout_s: StoreTimeout = DEFAULT_TIMEOUT_S,
) -> None:
    """Prove that TABLE is whole: every clip once, every row sound. Exit code 0 or 1."""
    from jobs.cli.verify_command import run_verify

    options = SourceOptions(
        format=source_format,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        follow_links=bool(follow_links),
        audio_column=audio_column,
        storage=Storage(parse_options(storage_options or ()), store_timeout_s),
    )
    out = console(sys.stdout)
    rules = {
        "allow_hosts": allow_hosts,
        "no_local": no_local,
        "keep_query": keep_query,
        "strip_query": strip_query,
    }
    sources = tuple(source or ())
    raise typer.Exit(run_verify(table, sources, as_json, out, options, repair, rules))


@app.command(epilog=examples("status"))
def status(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Folder or URI of the table.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    storage_options: StorageOptions = None,
    store_timeout_s: StoreTimeout = DEFAULT_TIMEOUT_S,
) -> None:
    """Tell how far the last run into TABLE is, how fast, and what failed. Changes nothing."""
    from jobs.cli.status_command import show_status

    storage = Storage(parse_options(storage_options or ()), store_timeout_s)
    show_status(table, as_json, console(sys.stdout), storage)


app.command(epilog=examples("submit"))(submit)
app.add_typer(job_app, name="job")
app.add_typer(models_app, name="models")
app.add_typer(bench_app, name="bench")


def main() -> None:
    """Run the command; the entry point of the package."""
    # A log in JSON has wrong options as well, which are found before it is known what they ask for.
    for stream in (sys.stdout, sys.stderr):
        # A name in a script that the terminal's encoding does not have is no reason to end.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    pairs = itertools.pairwise(sys.argv)
    as_json = "--log-format=json" in sys.argv or ("--log-format", "json") in pairs
    try:
        sys.exit(app(prog_name="passtream", standalone_mode=not as_json))
    except (PipelineError, ModelError) as error:
        err = console(sys.stderr)
        print_line(err, f"passtream: {getattr(error, 'reason', error)}", 4)
        for way_out in getattr(error, "ways_out", ()):
            print_line(err, f"  {way_out}", 4)
        sys.exit(exit_code(error))
    except _BadOption as error:
        with json_log():
            raise UsageError(error.format_message()) from error

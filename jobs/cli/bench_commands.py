"""The commands of `passtream bench`, which repeat the measurements of BENCHMARKS.md."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from jobs.bench.model_help import DEFAULT_CASES, HELP
from jobs.cli.examples import examples
from models.archs import DEFAULT_ARCH

_Address = Annotated[
    str, typer.Option(help="Ray to use: local (starts one for each run), auto or a URL.")
]

bench_app = typer.Typer(help="Measure speed on this machine.", no_args_is_help=True)


@bench_app.callback()
def _root() -> None:
    pass


@bench_app.command("model", epilog=examples("bench model"))
def bench_model(
    against: Annotated[str, typer.Option(help=HELP["against"])] = "",
    arch: Annotated[str, typer.Option(help=HELP["arch"])] = DEFAULT_ARCH,
    device: Annotated[str, typer.Option(help=HELP["device"])] = "cpu",
    cases: Annotated[str, typer.Option(help=HELP["cases"])] = DEFAULT_CASES,
    precisions: Annotated[str, typer.Option(help=HELP["precisions"])] = "",
    lengths: Annotated[str, typer.Option(help=HELP["lengths"])] = "",
    sounds: Annotated[str, typer.Option(help=HELP["sounds"])] = "",
    repeats: Annotated[int, typer.Option(help=HELP["repeats"])] = 3,
    as_json: Annotated[bool, typer.Option("--json", help=HELP["json"])] = False,
    figures: Annotated[
        Path | None,
        typer.Option(
            help="File to which windows per second are added, for passtream plan; needs --name."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of this device in --figures, such as H100.")] = "",
) -> None:
    """Time PaSST on windows, mixed clips, timestamps and a long clip; minutes each on a CPU.

    Implementations run in turn; prints their medians and ratios as a Markdown table or as JSON.
    With only torch and torchaudio installed: python -m jobs.bench.model, with the same options.
    """
    from jobs.bench.model import run_bench  # imports torch, which takes seconds
    from jobs.bench.model_options import parse_bench_options
    from jobs.plan.speeds import speed_file

    options = parse_bench_options(
        arch, device, against, cases, precisions, lengths, repeats, sounds
    )
    file = speed_file(figures, name)
    run_bench(options, partial(print, flush=True), file, as_json)


@bench_app.command("feed", epilog=examples("bench feed"))
def bench_feed(
    source: Annotated[
        list[str] | None,
        typer.Argument(help="Sources as for embed; default: synthetic WAV, FLAC and MP3 files."),
    ] = None,
    repeats: Annotated[int, typer.Option(help="Number of measured rounds.")] = 5,
    figures: Annotated[
        Path | None,
        typer.Option(
            help="File to which the decoding speed of a core is added, for passtream plan; needs "
            "--name."
        ),
    ] = None,
    name: Annotated[
        str, typer.Option(help="Name of this machine's cores in --figures, such as epyc-zen4.")
    ] = "",
) -> None:
    """Time everything before the model, from recordings to windows, and a bare decoder.

    Both run in turn; prints their medians and ratios as a Markdown table.
    """
    from jobs.bench.feed import run_feed_bench
    from jobs.plan.speeds import speed_file

    file = speed_file(figures, name)
    run_feed_bench(tuple(source or ()), repeats, partial(print, flush=True), file)


@bench_app.command("plan", epilog=examples("bench plan"))
def bench_plan(
    objects: Annotated[
        int, typer.Option(help="Number of recordings in the synthetic listing.")
    ] = 1_000_000,
    records: Annotated[
        int, typer.Option(help="Number of committed shards to resume from.")
    ] = 100_000,
) -> None:
    """Measure time and memory of listing, planning and resuming; prints a Markdown table."""
    from jobs.bench.planning import run_plan_bench

    run_plan_bench(objects, records, partial(print, flush=True))


@bench_app.command("overhead", epilog=examples("bench overhead"))
def bench_overhead(
    shards: Annotated[
        int, typer.Option(help="Number of shards per run, each of 256 windows of 10 s.")
    ] = 48,
    repeats: Annotated[int, typer.Option(help="Number of runs at full speed.")] = 3,
    pace: Annotated[float, typer.Option(help="Shards per minute of the slowed runs.")] = 100.0,
    pace_s: Annotated[float, typer.Option(help="Duration of each slowed run in seconds.")] = 45.0,
    address: _Address = "local",
) -> None:
    """Time a run on Ray whose decoders and model compute nothing; takes minutes.

    Prints, as Markdown tables, the batches and bytes of PCM per second through one actor, and the
    CPU time of the driver at a given number of shards per minute.
    """
    from jobs.bench.overhead import run_overhead_bench

    run_overhead_bench(shards, repeats, pace, pace_s, address, partial(print, flush=True))


@bench_app.command("job", epilog=examples("bench job"))
def bench_job(
    arch: Annotated[str, typer.Option(help="PaSST arch to run.")] = DEFAULT_ARCH,
    precision: Annotated[str, typer.Option(help="Precision of both models.")] = "fp32",
    windows: Annotated[int, typer.Option(help="Number of recordings of 10 s per round.")] = 48,
    shard_clips: Annotated[int, typer.Option(help="Clips per shard.")] = 16,
    repeats: Annotated[int, typer.Option(help="Number of measured rounds.")] = 3,
    address: _Address = "local",
) -> None:
    """Time a whole job on a Ray of this machine, and its model alone; takes minutes.

    Both run in turn; prints windows per second without start-up, as a Markdown table.
    """
    from jobs.bench.job import run_job_bench

    run_job_bench(
        *(arch, precision, windows, shard_clips, repeats, address), partial(print, flush=True)
    )

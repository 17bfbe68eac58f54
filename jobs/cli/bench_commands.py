"""`passtream bench`: measurements that anyone can repeat, for BENCHMARKS.md."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from jobs.bench.model_help import DEFAULT_CASES, HELP
from jobs.cli.examples import examples
from models.archs import DEFAULT_ARCH

_Address = Annotated[str, typer.Option(help="local (a Ray of its own each time), auto or a URL.")]

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
            help="Keep how fast windows are in this file, for passtream plan; needs --name."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="What --figures calls this device, as H100.")] = "",
) -> None:
    """Time PaSST on windows, mixed clips, timestamps and long clips; minutes each on a CPU.

    Contestants take turns; printed are medians and ratios, as a Markdown table or as JSON. Where
    there is torch and nothing else of ours: python -m jobs.bench.model, with the same options.
    """
    from jobs.bench.model import run_bench  # imports torch, which takes seconds
    from jobs.bench.model_options import parse_bench_options
    from jobs.plan.speeds import speed_file

    options = parse_bench_options(arch, device, against, cases, precisions, lengths, repeats, sounds)
    file = speed_file(figures, name)
    run_bench(options, partial(print, flush=True), file, as_json)


@bench_app.command("feed", epilog=examples("bench feed"))
def bench_feed(
    source: Annotated[
        list[str] | None,
        typer.Argument(help="Recordings, as for embed; none: WAV, FLAC and MP3 files are made."),
    ] = None,
    repeats: Annotated[int, typer.Option(help="Measured rounds.")] = 5,
    figures: Annotated[
        Path | None,
        typer.Option(
            help="Keep how fast a core decodes in this file, for passtream plan; needs --name."
        ),
    ] = None,
    name: Annotated[
        str, typer.Option(help="What --figures calls a core of this machine, as epyc-zen4.")
    ] = "",
) -> None:
    """Time all but the model: recordings to packets of windows, beside the bare decoder.

    Contestants take turns; printed are medians and ratios, as a Markdown table.
    """
    from jobs.bench.feed import run_feed_bench
    from jobs.plan.speeds import speed_file

    file = speed_file(figures, name)
    run_feed_bench(tuple(source or ()), repeats, partial(print, flush=True), file)


@bench_app.command("plan", epilog=examples("bench plan"))
def bench_plan(
    objects: Annotated[int, typer.Option(help="Recordings in the made-up listing.")] = 1_000_000,
    records: Annotated[int, typer.Option(help="Committed shards to resume from.")] = 100_000,
) -> None:
    """Time listing, planning and resuming, and take their memory; printed as a Markdown table."""
    from jobs.bench.planning import run_plan_bench

    run_plan_bench(objects, records, partial(print, flush=True))


@bench_app.command("overhead", epilog=examples("bench overhead"))
def bench_overhead(
    shards: Annotated[int, typer.Option(help="Shards, of 256 windows of 10 s, a run.")] = 48,
    repeats: Annotated[int, typer.Option(help="Runs as fast as it goes.")] = 3,
    pace: Annotated[float, typer.Option(help="Shards a minute of the slow runs.")] = 100.0,
    pace_s: Annotated[float, typer.Option(help="Seconds that each of these takes.")] = 45.0,
    address: _Address = "local",
) -> None:
    """Time what is between decoders and model, which do nothing, and the driver; on Ray, minutes.

    Printed are batches and bytes of PCM a second through one actor, and the driver's processor time
    at so many shards a minute, as Markdown tables.
    """
    from jobs.bench.overhead import run_overhead_bench

    run_overhead_bench(shards, repeats, pace, pace_s, address, partial(print, flush=True))


@bench_app.command("job", epilog=examples("bench job"))
def bench_job(
    arch: Annotated[str, typer.Option(help="The PaSST to run.")] = DEFAULT_ARCH,
    precision: Annotated[str, typer.Option(help="What both compute in.")] = "fp32",
    windows: Annotated[int, typer.Option(help="Recordings of 10 s, of a round.")] = 48,
    shard_clips: Annotated[int, typer.Option(help="Clips a shard.")] = 16,
    repeats: Annotated[int, typer.Option(help="Measured rounds.")] = 3,
    address: _Address = "local",
) -> None:
    """Time a job on a Ray of this machine, beside its bare model; minutes.

    They take turns; printed are windows a second, start-up apart, as a Markdown table.
    """
    from jobs.bench.job import run_job_bench

    run_job_bench(
        *(arch, precision, windows, shard_clips, repeats, address), partial(print, flush=True)
    )

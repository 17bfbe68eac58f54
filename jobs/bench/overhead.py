"""`passtream bench overhead`: what is between decoders and model, and what the driver costs.

A real run on a Ray of this machine: driver, one actor, decode tasks, packets through the object
store, Parquet files and commits on the disk of the folder for temporary files. Only that the
decoders make windows out of nothing, and the model answers at once (see `jobs.bench.null_model`).

First as fast as it goes. Counted is what reaches the model from its first call on, to the last
commit; that call's own windows came before and are left out. A batch is 2.4 MB of float32 PCM,
18.75 s of audio, however many a call holds. Then with a model that takes as long as so many shards
a minute need; the driver's processor time, that of all threads of its process, is taken from the
first commit to the last.
"""

import io
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rich.console import Console

from jobs.bench.benchmark import Report, describe_machine
from jobs.bench.null_model import SAMPLES_COLUMN, Call, NullModel, read_calls, synthetic_packets
from jobs.cluster.connection import ClusterOptions
from jobs.cluster.driver import run_on_ray
from jobs.runtime.monitor import Monitor
from jobs.runtime.run_log import RunLog
from jobs.runtime.stop_signals import stop_signals
from jobs.worker.run_model import Decode, RunSpec
from models.archs import DEFAULT_ARCH, EMBED_DIM, arch_spec
from pipeline.audio import SAMPLE_RATE_HZ
from pipeline.clips import ClipRef
from pipeline.embedding.model import AsyncModel
from pipeline.errors import PipelineError, UsageError
from pipeline.planning.plan import plan_shards
from pipeline.table.spec import Route, TableSpec
from pipeline.table.store.local import LocalStore
from pipeline.table.table import Table

BATCH_BYTES = 2_400_000
SHARD_CLIPS = 256
PACED_CLIP_S = 1.0
"""Of the run with a slow model: its shards are to be small for all but the driver."""
_ARCH = arch_spec(DEFAULT_ARCH)
_SPEC = TableSpec(
    routes=(Route(_ARCH.name, _ARCH.max_window_s, "random:0", "0" * 64, _ARCH.hop_samples),),
    min_samples=_ARCH.min_samples,
    embedding_dim=EMBED_DIM,
    n_classes=_ARCH.n_classes,
    window_s=_ARCH.max_window_s,
    hop_s=_ARCH.scene_hop_s,
    columns=(SAMPLES_COLUMN,),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NullRun(RunSpec):
    """A run without decoders and model.

    Attributes:
        window_s: seconds that the model takes for a window.
        calls: file that takes a line a call of the model.
    """

    window_s: float
    calls: str

    @property
    def decode(self) -> Decode:
        """Makes packets out of nothing."""
        return synthetic_packets

    def model(self, n_threads: int) -> AsyncModel:
        """Answers at once, or after `window_s` for each window."""
        spec = self.spec
        return NullModel(spec.embedding_dim, spec.n_classes, self.window_s, Path(self.calls))


@dataclass(frozen=True, slots=True)
class _Moment:
    """A commit, as the driver learns of it.

    Attributes:
        wall_s: by the clock.
        cpu_s: that the driver's process has used so far.
    """

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class _Done:
    """What a run did.

    Attributes:
        calls: of the model.
        ended_s: last commit, in seconds since 1970.
        commits: each as the driver learnt of it.
    """

    calls: list[Call]
    ended_s: float
    commits: list[_Moment]

    @property
    def bytes_a_second(self) -> float:
        """Of PCM that reached the model."""
        n_samples = sum(call.n_samples for call in self.calls[1:])
        return 4 * n_samples / (self.ended_s - self.calls[0].began_s)

    @property
    def driver_s(self) -> tuple[float, float]:
        """From the first commit to the last: seconds by the clock, and of the driver's."""
        first, last = self.commits[0], self.commits[-1]
        return last.wall_s - first.wall_s, last.cpu_s - first.cpu_s


def run_overhead_bench(
    n_shards: int,
    repeats: int,
    pace: float,
    pace_s: float,
    address: str = "local",
    report: Report = print,
) -> None:
    """Measure throughput and the driver's share of a core; report Markdown tables.

    Args:
        n_shards: shards of a run as fast as it goes, each of `SHARD_CLIPS` windows.
        repeats: how many of these runs.
        pace: shards a minute of the other runs.
        pace_s: seconds that each of them takes, about.
        address: of Ray; `local` starts one for each run.
        report: takes the lines.

    Raises:
        UsageError: too few shards to measure anything, or no Ray at that address.
        PipelineError: a shard failed.
    """
    n_paced = round(pace * pace_s / 60) + 1
    if n_shards < 1 or repeats < 1 or n_paced < 3 or pace <= 0:
        raise UsageError(
            "shards and repeats must be at least 1, and pace x pace-s enough for 2 shards (got "
            f"{n_shards}, {repeats}, {pace:g} and {pace_s:g})"
        )
    report(describe_machine("cpu", ("ray", "numpy")))
    report("")
    options = ClusterOptions(address, 1)
    runs = [_run(n_shards, _ARCH.max_window_s, 0.0, options, _lines()) for _ in range(repeats)]
    report(
        "| shards | GB | batches/s | MB/s | lowest, MB/s | calls | windows a call | not copied |"
    )
    report("|---|---|---|---|---|---|---|---|")
    report(_throughput_row(n_shards, runs))
    report("")
    report("| progress shown as | shards a minute | seconds | driver, ms a shard | % of one core |")
    report("|---|---|---|---|---|")
    with open(os.devnull, "w") as nowhere:
        for name, console in (("lines", _lines()), ("a bar", _bar(nowhere))):
            done = _run(n_paced, PACED_CLIP_S, 60 / pace / SHARD_CLIPS, options, console)
            report(_driver_row(name, n_paced - 1, done))


def _lines() -> Console:
    return Console(file=io.StringIO())


def _bar(file: TextIO) -> Console:
    return Console(file=file, force_terminal=True)


def _driver_row(name: str, n_shards: int, done: _Done) -> str:
    seconds, cpu_s = done.driver_s
    return (
        f"| {name} | {60 * n_shards / seconds:.0f} | {seconds:.0f} | "
        f"{1000 * cpu_s / n_shards:.1f} | {100 * cpu_s / seconds:.2f} |"
    )


def _throughput_row(n_shards: int, runs: Sequence[_Done]) -> str:
    speeds = [run.bytes_a_second for run in runs]
    median = statistics.median(speeds)
    calls = [call for run in runs for call in run.calls]
    n_windows = sum(call.n_windows for call in calls)
    n_bytes = sum(4 * call.n_samples for call in calls) / len(runs)
    views = sum(call.n_views for call in calls) / n_windows
    return (
        f"| {n_shards} | {n_bytes / 1e9:.1f} | {median / BATCH_BYTES:.0f} | {median / 1e6:.0f} | "
        f"{min(speeds) / 1e6:.0f} | {len(calls) // len(runs)} | {n_windows / len(calls):.0f} | "
        f"{100 * views:.0f} % |"
    )


def _run(
    n_shards: int, clip_s: float, window_s: float, options: ClusterOptions, console: Console
) -> _Done:
    length = str(round(clip_s * SAMPLE_RATE_HZ))
    clips = [
        ClipRef(f"hollow://{n:09}", "0", carried=(length,)) for n in range(n_shards * SHARD_CLIPS)
    ]
    shards = plan_shards(clips, _SPEC.digest, SHARD_CLIPS)
    commits: list[_Moment] = []
    with tempfile.TemporaryDirectory() as folder:
        table = Table.open_or_create(LocalStore(Path(folder) / "table"), _SPEC)
        calls = Path(folder) / "calls"
        run = NullRun(table.store.location, _SPEC, {}, window_s=window_s, calls=str(calls))
        with (
            stop_signals() as stop,
            Monitor(
                RunLog(console), n_shards, len(clips), lambda _: commits.append(_now())
            ) as monitor,
        ):
            run_on_ray(run, shards, monitor, options, stop)
        if monitor.failed:
            raise PipelineError(monitor.failed[0][1])
        records = table.commits.records(table.commits.ids())
        ended_s = max(record.finished_s or 0.0 for record in records)
        return _Done(read_calls(calls), ended_s, commits)


def _now() -> _Moment:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return _Moment(time.perf_counter(), used.ru_utime + used.ru_stime)

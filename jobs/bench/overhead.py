"""`passtream bench overhead`: throughput between decoders and model, and CPU time of the driver.

The benchmark is a real run on a Ray of this machine: driver, one actor, decode tasks, packets
through the object store, and Parquet files and commits in the folder for temporary files. Only the
decoders and the model are replaced: they generate windows and return at once (see
`jobs.bench.null_model`).

The first runs are as fast as possible. Their throughput counts the samples that reach the model
between its first call and the last commit; the windows of the first call are left out, because they
were decoded before. The table shows it in batches of 2.4 MB of float32 PCM, which are 18.75 s of
audio, whatever the size of the calls.

The other runs have a model that is slowed to a given number of shards per minute. The CPU time of
the driver is that of all threads of its process, from the first commit to the last.
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
"""Size of the batches in which throughput is shown."""
SHARD_CLIPS = 256
"""Number of clips per shard."""
PACED_CLIP_S = 1.0
"""Length of clips for the slowed model, in seconds: short, so that only the driver has work."""
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
    """A run whose decoders and model compute nothing.

    Attributes:
        window_s: Time that the model takes per window, in seconds; 0 to return at once.
        calls: Path of the file to which a line is written per call of the model.
    """

    window_s: float
    calls: str

    @property
    def decode(self) -> Decode:
        """The function that yields synthetic packets."""
        return synthetic_packets

    def model(self, n_threads: int) -> AsyncModel:
        """Return a model that takes `window_s` per window and computes nothing."""
        spec = self.spec
        return NullModel(spec.embedding_dim, spec.n_classes, self.window_s, Path(self.calls))


@dataclass(frozen=True, slots=True)
class _CommitTime:
    """Times at which the driver is notified of a commit.

    Attributes:
        wall_s: Time by the clock, in seconds.
        cpu_s: Processor time that the driver's process has used so far, in seconds.
    """

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class _RunResult:
    """Measurements of a run.

    Attributes:
        calls: Calls of the model, in order.
        ended_s: Time of the last commit, in seconds since 1970.
        commits: Times of each commit, as the driver is notified of it.
    """

    calls: list[Call]
    ended_s: float
    commits: list[_CommitTime]

    @property
    def bytes_per_s(self) -> float:
        """Bytes of PCM per second that reached the model."""
        n_samples = sum(call.n_samples for call in self.calls[1:])
        return 4 * n_samples / (self.ended_s - self.calls[0].began_s)

    @property
    def driver_times_s(self) -> tuple[float, float]:
        """Seconds from the first commit to the last: by the clock, and of the driver's CPU time."""
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
        n_shards: Number of shards of a run at full speed, each of `SHARD_CLIPS` windows.
        repeats: Number of runs at full speed.
        pace: Shards per minute of the runs with a slowed model.
        pace_s: Approximate duration of each run with a slowed model, in seconds.
        address: Address of Ray; `local` starts a Ray for each run.
        report: Function that is called with each line of the report.

    Raises:
        UsageError: There are too few shards to measure, or no Ray at the address.
        PipelineError: A shard failed.
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
    runs = [
        _run(n_shards, _ARCH.max_window_s, 0.0, options, _text_console()) for _ in range(repeats)
    ]
    report(
        "| shards | GB | batches/s | MB/s | lowest, MB/s | calls | windows per call | not copied |"
    )
    report("|---|---|---|---|---|---|---|---|")
    report(_throughput_row(n_shards, runs))
    report("")
    report(
        "| progress shown as | shards per minute | seconds | driver, ms per shard | % of one core |"
    )
    report("|---|---|---|---|---|")
    with open(os.devnull, "w") as devnull:
        for name, console in (("lines", _text_console()), ("a bar", _terminal_console(devnull))):
            result = _run(n_paced, PACED_CLIP_S, 60 / pace / SHARD_CLIPS, options, console)
            report(_driver_row(name, n_paced - 1, result))


def _text_console() -> Console:
    """Return a console on which progress is shown as lines."""
    return Console(file=io.StringIO())


def _terminal_console(file: TextIO) -> Console:
    """Return a console on which progress is shown as a bar."""
    return Console(file=file, force_terminal=True)


def _driver_row(name: str, n_shards: int, result: _RunResult) -> str:
    seconds, cpu_s = result.driver_times_s
    return (
        f"| {name} | {60 * n_shards / seconds:.0f} | {seconds:.0f} | "
        f"{1000 * cpu_s / n_shards:.1f} | {100 * cpu_s / seconds:.2f} |"
    )


def _throughput_row(n_shards: int, runs: Sequence[_RunResult]) -> str:
    speeds = [run.bytes_per_s for run in runs]
    median = statistics.median(speeds)
    calls = [call for run in runs for call in run.calls]
    n_windows = sum(call.n_windows for call in calls)
    n_bytes = sum(4 * call.n_samples for call in calls) / len(runs)
    share_of_views = sum(call.n_views for call in calls) / n_windows
    return (
        f"| {n_shards} | {n_bytes / 1e9:.1f} | {median / BATCH_BYTES:.0f} | {median / 1e6:.0f} | "
        f"{min(speeds) / 1e6:.0f} | {len(calls) // len(runs)} | {n_windows / len(calls):.0f} | "
        f"{100 * share_of_views:.0f} % |"
    )


def _run(
    n_shards: int, clip_s: float, window_s: float, options: ClusterOptions, console: Console
) -> _RunResult:
    length = str(round(clip_s * SAMPLE_RATE_HZ))
    clips = [
        ClipRef(f"null://{n:09}", "0", carried=(length,)) for n in range(n_shards * SHARD_CLIPS)
    ]
    shards = plan_shards(clips, _SPEC.digest, SHARD_CLIPS)
    commits: list[_CommitTime] = []
    with tempfile.TemporaryDirectory() as folder:
        table = Table.open_or_create(LocalStore(Path(folder) / "table"), _SPEC)
        calls = Path(folder) / "calls"
        run = NullRun(table.store.location, _SPEC, {}, window_s=window_s, calls=str(calls))
        with (
            stop_signals() as stop,
            Monitor(
                RunLog(console), n_shards, len(clips), lambda _: commits.append(_commit_time())
            ) as monitor,
        ):
            run_on_ray(run, shards, monitor, options, stop)
        if monitor.failed:
            raise PipelineError(monitor.failed[0][1])
        records = table.commits.records(table.commits.ids())
        ended_s = max(record.finished_s or 0.0 for record in records)
        return _RunResult(read_calls(calls), ended_s, commits)


def _commit_time() -> _CommitTime:
    """Return the present times, for a commit of which the driver is being notified."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return _CommitTime(time.perf_counter(), used.ru_utime + used.ru_stime)

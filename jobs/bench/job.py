"""`passtream bench job`: the windows a second of a whole job, beside those of the bare model.

The job is `passtream embed` on a Ray of this machine: recordings in files to a table on the disk of
the folder for temporary files, one actor, on a GPU where there is one. The bare model embeds the
same windows, which it has in memory, in this process and on the same device. On a CPU both compute
with all cores; what decoding, Ray and writing take of these, the job lacks. They take turns, and
Ray is there in the job's turns only.

Start-up is left out: Ray's, the weights, the decoders' imports, the model's first call. Two shards
of one recording each go through for that, and the job's time runs from the commit of the later one
to its last commit, by the times in the commit records. What the decoders get ahead meanwhile is
little: a recording takes them a hundredth of what it takes the model.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path

from rich.console import Console

from jobs.bench.benchmark import Report, describe_machine
from jobs.bench.recordings import write_recordings
from jobs.cluster.connection import ClusterOptions
from jobs.cluster.driver import run_on_ray
from jobs.runtime.monitor import Monitor
from jobs.runtime.run_log import RunLog
from jobs.runtime.stop_signals import stop_signals
from jobs.settings.config import EmbedConfig
from jobs.settings.load_config import load_config
from jobs.settings.table_spec import table_spec
from jobs.worker.run_model import RunSpec, default_device
from models.checkpoints.state_dict import load_weights
from models.inference.embedder import Embedder
from pipeline.audio import Samples, to_samples
from pipeline.clips import ClipRef
from pipeline.errors import PipelineError, UsageError
from pipeline.planning.plan import SHARD_BYTES, plan_shards
from pipeline.readers.shard_reader import clip_recordings
from pipeline.shards import Shard
from pipeline.sources.list_sources import list_sources
from pipeline.stream.decode_rule import DecodeRule
from pipeline.stream.packets import shard_packets
from pipeline.stream.windows import WindowBlock
from pipeline.table.spec import TableSpec
from pipeline.table.store.local import LocalStore
from pipeline.table.table import Table

CLIP_S = 10.0
ENDINGS = (".flac", ".wav")
WEIGHTS = "random:0"
N_WARM = 2
"""Shards of one recording that go first: so many decoders work at a time."""


@dataclass
class _Rounds:
    """What was measured, in windows a second; a value each round."""

    bare: list[float] = field(default_factory=list)
    job: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """The job's by the bare model's of the same round."""
        return [job / bare for job, bare in zip(self.job, self.bare, strict=True)]


def run_job_bench(
    arch: str,
    precision: str,
    n_windows: int,
    shard_clips: int,
    repeats: int,
    address: str = "local",
    report: Report = print,
) -> None:
    """Let job and bare model take turns; report a Markdown table.

    Args:
        arch: the PaSST.
        precision: that it computes in.
        n_windows: recordings of a round, of 10 s each, half of them FLAC and half WAV.
        shard_clips: of these a shard.
        repeats: rounds.
        address: of Ray; `local` starts one for each of the job's turns.
        report: takes the lines.

    Raises:
        UsageError: too little to measure, or no Ray at that address.
        ModelError: an unknown arch, or a precision that it cannot compute in.
        PipelineError: the job failed.
    """
    if min(shard_clips, repeats) < 1 or n_windows < 2:
        raise UsageError(
            "windows must be at least 2, shard-clips and repeats at least 1 (got "
            f"{n_windows}, {shard_clips} and {repeats})"
        )
    report(describe_machine(default_device(), ("ray",)))
    report("")
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        each_s = (CLIP_S,) * (-(-n_windows // len(ENDINGS)) + N_WARM)
        write_recordings(corpus, ENDINGS, each_s)
        config = load_config(
            None,
            {
                "sources": (str(corpus),),
                "table": folder,
                "arch": arch,
                "precision": precision,
                "weights": WEIGHTS,
            },
        )
        spec = _spec(config)
        warm, clips = _parted(list_sources(config.sources).clips, n_windows)
        windows = _windows(clips, spec.decode_rule)
        bare = _bare_model(config)
        bare.embed(windows[:1])
        rounds, options = _Rounds(), ClusterOptions(address, 1)
        for turn in range(repeats):
            rounds.bare.append(_bare_speed(bare, windows))
            shards = [
                *plan_shards(warm, spec.digest, 1),
                *plan_shards(clips, spec.digest, shard_clips),
            ]
            rounds.job.append(_job_speed(Path(folder) / f"table{turn}", spec, shards, options))
    report(
        "| arch | precision | windows | bare, windows/s | job, windows/s | job / bare | lowest |"
    )
    report("|---|---|---|---|---|---|---|")
    report(
        f"| {arch} | {precision} | {len(windows)} | {statistics.median(rounds.bare):.3f} | "
        f"{statistics.median(rounds.job):.3f} | {statistics.median(rounds.ratios):.3f} | "
        f"{min(rounds.ratios):.3f} |"
    )


def _spec(config: EmbedConfig) -> TableSpec:
    arch = config.archs[0]
    return table_spec(config, {arch.name: load_weights(WEIGHTS, arch)})


def _parted(clips: Sequence[ClipRef], n_windows: int) -> tuple[list[ClipRef], list[ClipRef]]:
    """Those that go first, and the others, as many of each format."""
    by_name = sorted(clips, key=lambda clip: clip.uri)
    # Whatever is said to be large does.
    first = [replace(clip, n_bytes=SHARD_BYTES) for clip in by_name[:N_WARM]]
    return first, by_name[N_WARM : N_WARM + n_windows]


def _windows(clips: Sequence[ClipRef], rule: DecodeRule) -> list[Samples]:
    events = (event for packet in shard_packets(clip_recordings(clips), rule) for event in packet)
    blocks = (event for event in events if isinstance(event, WindowBlock))
    return [window for block in blocks for window in block.windows()]


def _bare_model(config: EmbedConfig) -> Embedder:
    arch = config.archs[0]
    state_dict = load_weights(WEIGHTS, arch).state_dict
    model = Embedder(arch, state_dict, default_device(), precision=config.precision)
    model.warm_up(to_samples(arch.max_window_s))
    return model


def _bare_speed(model: Embedder, windows: Sequence[Samples]) -> float:
    """Windows a second."""
    started = time.perf_counter()
    model.embed(windows)
    return len(windows) / (time.perf_counter() - started)


def _job_speed(
    folder: Path, spec: TableSpec, shards: Sequence[Shard], options: ClusterOptions
) -> float:
    """Windows a second, once the shards that go first are committed."""
    table = Table.open_or_create(LocalStore(folder), spec)
    run = RunSpec(table.store.location, spec, {route.arch: WEIGHTS for route in spec.routes})
    with (
        stop_signals() as stop,
        Monitor(RunLog(Console(file=StringIO())), len(shards), None) as monitor,
    ):
        run_on_ray(run, shards, monitor, options, stop)
    if monitor.failed:
        raise PipelineError(monitor.failed[0][1])
    ids = [shard.shard_id for shard in shards]
    ended_s = [record.finished_s or 0.0 for record in table.commits.records(ids)]
    n_windows = sum(record.windows for record in table.commits.records(ids[N_WARM:]))
    return n_windows / (max(ended_s) - max(ended_s[:N_WARM]))

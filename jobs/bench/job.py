"""`passtream bench job`: windows per second of a whole job, compared with the bare model.

The job is `passtream embed` on a Ray of this machine, with one actor, on a GPU if there is one. It
reads recordings from files and writes a table to the folder for temporary files. The bare model
embeds the same windows from memory, in this process and on the same device. On a CPU both use all
cores; the job also needs some of them for decoding, Ray and writing. Job and bare model alternate,
and Ray runs only during the job.

Start-up is left out: of Ray, the weights, the imports of the decoders, and the first call of the
model. Two shards of one recording each are embedded first for that. The time of the job is measured
from the later of their commits to the last commit, by the times in the commit records. The decoders
work ahead during these shards, which matters little: decoding a recording takes a hundredth of the
time of embedding it.
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
from pipeline.audio import to_samples
from pipeline.clips import ClipRef
from pipeline.errors import PipelineError, UsageError
from pipeline.planning.plan import SHARD_BYTES, plan_shards
from pipeline.readers.shard_reader import clip_recordings
from pipeline.samples import Samples
from pipeline.shards import Shard
from pipeline.sources.list_sources import list_sources
from pipeline.stream.decode_rule import DecodeRule
from pipeline.stream.packets import shard_packets
from pipeline.stream.windows import WindowBlock
from pipeline.table.spec import TableSpec
from pipeline.table.store.local import LocalStore
from pipeline.table.table import Table

CLIP_S = 10.0
"""Length of each recording, in seconds."""
ENDINGS = (".flac", ".wav")
WEIGHTS = "random:0"
N_WARM = 2
"""Number of shards that are embedded first: the number of decoders that work at a time."""


@dataclass
class _Rounds:
    """Measured speeds in windows per second, with a value per round."""

    bare: list[float] = field(default_factory=list)
    job: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Speed of the job divided by that of the bare model, per round."""
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
    """Time the job and the bare model in alternation; report a Markdown table.

    Args:
        arch: Name of the PaSST arch.
        precision: Precision in which the model computes.
        n_windows: Number of recordings of 10 s per round, half of them FLAC and half WAV.
        shard_clips: Number of recordings per shard.
        repeats: Number of rounds.
        address: Address of Ray; `local` starts a Ray for each job.
        report: Function that is called with each line of the report.

    Raises:
        UsageError: A number is too small, arch or precision are unknown, or there is no Ray at the
            address.
        ModelError: The model cannot compute in this precision.
        PipelineError: The job failed.
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
        lengths_s = (CLIP_S,) * (-(-n_windows // len(ENDINGS)) + N_WARM)
        write_recordings(corpus, ENDINGS, lengths_s)
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
        warm_up_clips, clips = _split_clips(list_sources(config.sources).clips, n_windows)
        windows = _decode_windows(clips, spec.decode_rule)
        bare = _load_bare_model(config)
        bare.embed(windows[:1])
        rounds, options = _Rounds(), ClusterOptions(address, 1)
        for round_number in range(repeats):
            rounds.bare.append(_measure_bare_model(bare, windows))
            shards = [
                *plan_shards(warm_up_clips, spec.digest, 1),
                *plan_shards(clips, spec.digest, shard_clips),
            ]
            table = Path(folder) / f"table{round_number}"
            rounds.job.append(_measure_job(table, spec, shards, options))
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


def _split_clips(clips: Sequence[ClipRef], n_windows: int) -> tuple[list[ClipRef], list[ClipRef]]:
    """Return the clips to embed first, and the other clips: as many FLAC files as WAV files."""
    by_name = sorted(clips, key=lambda clip: clip.uri)
    # Shards that are listed as large are embedded first.
    first = [replace(clip, n_bytes=SHARD_BYTES) for clip in by_name[:N_WARM]]
    return first, by_name[N_WARM : N_WARM + n_windows]


def _decode_windows(clips: Sequence[ClipRef], rule: DecodeRule) -> list[Samples]:
    events = (event for packet in shard_packets(clip_recordings(clips), rule) for event in packet)
    blocks = (event for event in events if isinstance(event, WindowBlock))
    return [window for block in blocks for window in block.windows()]


def _load_bare_model(config: EmbedConfig) -> Embedder:
    arch = config.archs[0]
    state_dict = load_weights(WEIGHTS, arch).state_dict
    model = Embedder(arch, state_dict, default_device(), precision=config.precision)
    model.warm_up(to_samples(arch.max_window_s))
    return model


def _measure_bare_model(model: Embedder, windows: Sequence[Samples]) -> float:
    """Embed windows once, and return the windows per second."""
    started = time.perf_counter()
    model.embed(windows)
    return len(windows) / (time.perf_counter() - started)


def _measure_job(
    folder: Path, spec: TableSpec, shards: Sequence[Shard], options: ClusterOptions
) -> float:
    """Run the job, and return the windows per second after the first `N_WARM` shards."""
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

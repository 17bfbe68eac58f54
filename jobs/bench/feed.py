"""`passtream bench feed`: the speed of decoding, from recordings to packets of windows.

The feed, which is everything before the model, is compared with a bare decoder. The bare decoder
reads a whole file with libsndfile, mixes it down and resamples it, without checks or windows. Both
run in worker processes of one thread, which live for all rounds.

Speeds are per second of processor time, so other work on the machine changes them little. The
speedup of two processes over one is measured by the clock, so it needs an otherwise idle machine.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import soundfile
import soxr

from jobs.bench.benchmark import Report, cpu_name
from jobs.bench.recordings import write_recordings
from jobs.plan.speeds import SpeedFile
from models.archs import DEFAULT_ARCH, arch_spec
from pipeline.audio import SAMPLE_RATE_HZ, to_samples
from pipeline.clips import ClipRef, uri_to_path
from pipeline.errors import UsageError
from pipeline.readers.shard_reader import clip_recordings
from pipeline.sources.list_sources import list_sources
from pipeline.stream.clip_decoder import down_mix
from pipeline.stream.decode_rule import DecodeRule
from pipeline.stream.events import ClipDone, ClipFailed
from pipeline.stream.packets import shard_packets
from pipeline.stream.windows import WindowRule

SYNTHETIC_ENDINGS = (".wav", ".flac", ".mp3")
"""Endings of the files that are written if no source is given."""
SYNTHETIC_CLIPS_S = (5.0,) * 40 + (10.0,) * 40 + (120.0,) * 4
"""Lengths of the files of each ending, in seconds."""

Work = Callable[[Sequence[ClipRef]], float]
"""Function that decodes clips and returns their seconds of audio."""


@dataclass
class _Format:
    """Measurements on the files of one ending; lists have a value per round.

    Attributes:
        clips: The files.
        audio_s: Seconds of audio in the files.
        bare_cpu_s: Processor time of the bare decoder, in seconds.
        feed_cpu_s: Processor time of the feed, in seconds.
        speedup: Time of one process divided by the time of two.
    """

    clips: list[ClipRef]
    audio_s: float = 0.0
    bare_cpu_s: list[float] = field(default_factory=list)
    feed_cpu_s: list[float] = field(default_factory=list)
    speedup: list[float] = field(default_factory=list)

    @property
    def audio_s_per_core_s(self) -> float:
        """Seconds of audio that the feed decodes per second of processor time; the median."""
        return self.audio_s / statistics.median(self.feed_cpu_s)


def run_feed_bench(
    sources: Sequence[str],
    repeats: int,
    report: Report = print,
    speed_file: SpeedFile | None = None,
) -> None:
    """Time the feed and the bare decoder, then one process and two; report a Markdown table.

    Args:
        sources: Sources as for `passtream embed`; empty to write WAV, FLAC and MP3 files of noise.
        repeats: Number of measured rounds.
        report: Function that is called with each line of the report.
        speed_file: File to which the feed's speeds are added; None to save nothing.

    Raises:
        UsageError: A source cannot be listed or has no files, a clip cannot be decoded, or the
            speeds cannot be saved.
    """
    if repeats < 1:
        raise UsageError(f"repeats must be at least 1 (got {repeats})")
    if speed_file:
        speed_file.check_path()
    with _open_corpus(sources) as corpus, ProcessPoolExecutor(2, get_context("spawn")) as workers:
        formats: dict[str, _Format] = {}
        for clip in list_sources(corpus).clips:
            formats.setdefault(clip.ending, _Format([])).clips.append(clip)
        if not formats:
            raise UsageError(
                f"source {', '.join(sources)}: only files are timed, and it has none; unpack some"
            )
        for round_number in range(repeats + 1):
            for each in formats.values():
                _run_round(each, workers, is_measured=round_number > 0)
    report(cpu_name())
    report("")
    report(
        "| files | clips | hours | bare decoder, x real time per core | feed | feed / bare | "
        "two processes / one |"
    )
    report("|---|---|---|---|---|---|---|")
    for ending, each in formats.items():
        medians = map(statistics.median, (each.bare_cpu_s, each.feed_cpu_s, each.speedup))
        bare_s, feed_s, speedup = medians
        report(
            f"| {ending} | {len(each.clips)} | {each.audio_s / 3600:.2f} | "
            f"{each.audio_s / bare_s:.0f} | {each.audio_s_per_core_s:.0f} | "
            f"{bare_s / feed_s:.2f} | {speedup:.2f} |"
        )
    if speed_file:
        speeds = {ending: each.audio_s_per_core_s for ending, each in formats.items()}
        speed_file.save_core_speeds(_describe_measurement(formats, bool(sources)), speeds)
        report("")
        report(f"saved to {speed_file.path} as the core {speed_file.name}")


def _describe_measurement(formats: Mapping[str, _Format], is_given: bool) -> str:
    """Return the processor and the files: given files represent a corpus better than noise."""
    n_clips = sum(len(each.clips) for each in formats.values())
    hours = sum(each.audio_s for each in formats.values()) / 3600
    kind = "given" if is_given else "synthetic"
    return f"{cpu_name()}; {n_clips} {kind} files of {hours:.2f} h"


def _run_round(each: _Format, workers: ProcessPoolExecutor, is_measured: bool) -> None:
    """Time the bare decoder and the feed once, and add their times if the round is measured."""
    by_size = sorted(each.clips, key=lambda clip: os.path.getsize(uri_to_path(clip.uri)))
    bare, _ = _time(_decode_bare, [by_size], workers)
    feed, one_s = _time(_feed, [by_size], workers)
    _, two_s = _time(_feed, [by_size[::2], by_size[1::2]], workers)
    if is_measured:
        each.audio_s = feed.audio_s
        each.bare_cpu_s.append(bare.cpu_s)
        each.feed_cpu_s.append(feed.cpu_s)
        each.speedup.append(one_s / two_s)


class _Timing(NamedTuple):
    """Seconds of audio that were decoded, and seconds of processor time that this took."""

    audio_s: float
    cpu_s: float


def _time(
    work: Work, parts: Sequence[Sequence[ClipRef]], workers: ProcessPoolExecutor
) -> tuple[_Timing, float]:
    """Run work on each part in its own process; return the sums and the seconds by the clock."""
    started = time.perf_counter()
    timings = list(workers.map(partial(_time_part, work), parts))
    seconds = time.perf_counter() - started
    return _Timing(*map(sum, zip(*timings, strict=True))), seconds


def _time_part(work: Work, clips: Sequence[ClipRef]) -> _Timing:
    started = time.process_time()
    return _Timing(work(clips), time.process_time() - started)


def _decode_bare(clips: Sequence[ClipRef]) -> float:
    """Decode and resample clips in the simplest way; return their seconds of audio."""
    n_samples = 0
    for clip in clips:
        frames, rate_hz = soundfile.read(uri_to_path(clip.uri), dtype="float32", always_2d=True)
        n_samples += len(soxr.resample(down_mix(frames), rate_hz, SAMPLE_RATE_HZ))
    return n_samples / SAMPLE_RATE_HZ


def _feed(clips: Sequence[ClipRef]) -> float:
    """Decode clips to the packets that the model's process gets; return their seconds of audio."""
    arch = arch_spec(DEFAULT_ARCH)
    windows = WindowRule(to_samples(arch.max_window_s), to_samples(arch.scene_hop_s))
    n_samples = 0
    for packet in shard_packets(clip_recordings(clips), DecodeRule(windows, arch.min_samples)):
        for event in packet:
            if isinstance(event, ClipFailed):
                raise UsageError(f"{event.message}; name only files that can be decoded")
            if isinstance(event, ClipDone):
                n_samples += event.n_samples
    return n_samples / SAMPLE_RATE_HZ


@contextmanager
def _open_corpus(sources: Sequence[str]) -> Iterator[Sequence[str]]:
    """Open the given sources, or a temporary folder of synthetic recordings if there are none."""
    if sources:
        yield sources
        return
    with tempfile.TemporaryDirectory() as folder:
        write_recordings(Path(folder), SYNTHETIC_ENDINGS, SYNTHETIC_CLIPS_S)
        yield [folder]

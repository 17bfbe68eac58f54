"""`passtream bench feed`: how fast recordings become packets of windows, beside the bare decoder.

The rival reads a whole file with libsndfile, mixes it down and resamples it, and looks no further:
no checks, no pieces, no windows. Both run in processes of one thread that stay between the rounds.
Speeds are per second of processor time, so that whoever else is on the machine changes them little;
what two processes gain over one is told from the clock, and so only on a machine of one's own.
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

MADE_ENDINGS = (".wav", ".flac", ".mp3")
MADE_CLIPS_S = (5.0,) * 40 + (10.0,) * 40 + (120.0,) * 4

Work = Callable[[Sequence[ClipRef]], float]


@dataclass
class _Format:
    """What is measured on the files of one ending; a value each round.

    Attributes:
        clips: the files.
        audio_s: seconds of audio in them.
        bare: seconds of processor time of the bare decoder.
        ours: and of the feed.
        gain: how many times faster two processes were than one.
    """

    clips: list[ClipRef]
    audio_s: float = 0.0
    bare: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    gain: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Seconds of audio that the feed makes windows of in a second of processor time."""
        return self.audio_s / statistics.median(self.ours)


def run_feed_bench(
    sources: Sequence[str],
    repeats: int,
    report: Report = print,
    figures: SpeedFile | None = None,
) -> None:
    """Race the feed against the bare decoder, then one process against two; a Markdown table.

    Args:
        sources: as for `passtream embed`; none to make WAV, FLAC and MP3 files of noise.
        repeats: measured rounds.
        report: takes the lines.
        figures: where to keep the feed's speeds; None for nowhere.

    Raises:
        UsageError: a source that cannot be listed or has no files, a clip that cannot be decoded,
            or figures that cannot be kept.
    """
    if repeats < 1:
        raise UsageError(f"repeats must be at least 1 (got {repeats})")
    if figures:
        figures.check_path()
    with _corpus(sources) as found, ProcessPoolExecutor(2, get_context("spawn")) as workers:
        formats: dict[str, _Format] = {}
        for clip in list_sources(found).clips:
            formats.setdefault(clip.ending, _Format([])).clips.append(clip)
        if not formats:
            raise UsageError(
                f"source {', '.join(sources)}: only files are timed, and there is none; unpack some"
            )
        for turn in range(repeats + 1):
            for each in formats.values():
                _race(each, workers, is_measured=turn > 0)
    report(cpu_name())
    report("")
    report(
        "| files | clips | hours | bare decoder, x real time a core | feed | feed / bare | "
        "two processes / one |"
    )
    report("|---|---|---|---|---|---|---|")
    for ending, each in formats.items():
        bare, ours, gain = map(statistics.median, (each.bare, each.ours, each.gain))
        report(
            f"| {ending} | {len(each.clips)} | {each.audio_s / 3600:.2f} | "
            f"{each.audio_s / bare:.0f} | {each.rate:.0f} | {bare / ours:.2f} | "
            f"{gain:.2f} |"
        )
    if figures:
        figures.save_core_speeds(_measured_on(formats, bool(sources)), _rates(formats))
        report("")
        report(f"kept in {figures.path} as the core {figures.name}")


def _rates(formats: Mapping[str, _Format]) -> dict[str, float]:
    return {ending: each.rate for ending, each in formats.items()}


def _measured_on(formats: Mapping[str, _Format], is_given: bool) -> str:
    """The processor, and what it decoded: made files say less of a corpus than its own."""
    n_clips = sum(len(each.clips) for each in formats.values())
    hours = sum(each.audio_s for each in formats.values()) / 3600
    kind = "given" if is_given else "made"
    return f"{cpu_name()}; {n_clips} {kind} files of {hours:.2f} h"


def _race(each: _Format, workers: ProcessPoolExecutor, is_measured: bool) -> None:
    by_size = sorted(each.clips, key=lambda clip: os.path.getsize(uri_to_path(clip.uri)))
    bare, _ = _timed(_bare, [by_size], workers)
    ours, one_s = _timed(_feed, [by_size], workers)
    _, two_s = _timed(_feed, [by_size[::2], by_size[1::2]], workers)
    if is_measured:
        each.audio_s = ours.audio_s
        each.bare.append(bare.cpu_s)
        each.ours.append(ours.cpu_s)
        each.gain.append(one_s / two_s)


class _Done(NamedTuple):
    """Seconds of audio, and of processor time that they took."""

    audio_s: float
    cpu_s: float


def _timed(
    work: Work, parts: Sequence[Sequence[ClipRef]], workers: ProcessPoolExecutor
) -> tuple[_Done, float]:
    """What was done in all, and seconds by the clock; each part in a process of its own."""
    started = time.perf_counter()
    done = list(workers.map(partial(_measured, work), parts))
    seconds = time.perf_counter() - started
    return _Done(*map(sum, zip(*done, strict=True))), seconds


def _measured(work: Work, clips: Sequence[ClipRef]) -> _Done:
    started = time.process_time()
    return _Done(work(clips), time.process_time() - started)


def _bare(clips: Sequence[ClipRef]) -> float:
    """Seconds of audio, decoded and resampled in the simplest way."""
    n_samples = 0
    for clip in clips:
        frames, rate_hz = soundfile.read(uri_to_path(clip.uri), dtype="float32", always_2d=True)
        n_samples += len(soxr.resample(down_mix(frames), rate_hz, SAMPLE_RATE_HZ))
    return n_samples / SAMPLE_RATE_HZ


def _feed(clips: Sequence[ClipRef]) -> float:
    """Seconds of audio, in packets as the model's process gets them."""
    arch = arch_spec(DEFAULT_ARCH)
    windows = WindowRule(to_samples(arch.max_window_s), to_samples(arch.scene_hop_s))
    n_samples = 0
    for packet in shard_packets(clip_recordings(clips), DecodeRule(windows, arch.min_samples)):
        for event in packet:
            if isinstance(event, ClipFailed):
                raise UsageError(f"{event.message}; take files that can all be decoded")
            if isinstance(event, ClipDone):
                n_samples += event.n_samples
    return n_samples / SAMPLE_RATE_HZ


@contextmanager
def _corpus(sources: Sequence[str]) -> Iterator[Sequence[str]]:
    if sources:
        yield sources
        return
    with tempfile.TemporaryDirectory() as folder:
        write_recordings(Path(folder), MADE_ENDINGS, MADE_CLIPS_S)
        yield [folder]

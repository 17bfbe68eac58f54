"""`passtream bench feed`: how fast recordings become packets of windows, beside the bare decoder.

The rival reads a whole file with libsndfile, mixes it down and resamples it, and looks no further:
no checks, no pieces, no windows. Both run in processes of one thread that stay between the rounds.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
import soxr

from jobs.race import cpu_name
from models.archs import DEFAULT_ARCH, arch_spec
from pipeline.clips import SAMPLE_RATE_HZ, ClipRef, to_samples, uri_to_path
from pipeline.decode import down_mix
from pipeline.errors import UsageError
from pipeline.packets import ClipDone, ClipFailed, DecodeRule, shard_packets
from pipeline.recordings import of_clips
from pipeline.sources.recognize import list_sources
from pipeline.windows import WindowRule

MADE_ENDINGS = (".wav", ".flac", ".mp3")
MADE_CLIPS_S = (5.0,) * 40 + (10.0,) * 40 + (120.0,) * 4
_MADE_RATE_HZ = 44_100

Report = Callable[[str], None]
Work = Callable[[Sequence[ClipRef]], float]


@dataclass
class _Format:
    """What is measured on the files of one ending; seconds of each round."""

    clips: list[ClipRef]
    audio_s: float = 0.0
    bare: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    ours_by_two: list[float] = field(default_factory=list)


def run_feed_bench(sources: Sequence[str], repeats: int, report: Report = print) -> None:
    """Race the feed against the bare decoder, then one process against two; a Markdown table.

    Args:
        sources: as for `passtream embed`; none to make WAV, FLAC and MP3 files of noise.
        repeats: measured rounds.
        report: takes the lines.

    Raises:
        UsageError: a source that cannot be listed, or a clip that cannot be decoded.
    """
    if repeats < 1:
        raise UsageError(f"repeats must be at least 1 (got {repeats})")
    with _corpus(sources) as found, ProcessPoolExecutor(2, get_context("spawn")) as workers:
        formats: dict[str, _Format] = {}
        for clip in list_sources(found).clips:
            ending = os.path.splitext(clip.uri)[1].lower()
            formats.setdefault(ending, _Format([])).clips.append(clip)
        for turn in range(repeats + 1):
            for each in formats.values():
                _race(each, workers, is_measured=turn > 0)
    report(cpu_name())
    report("")
    report(
        "| files | clips | hours | bare decoder, x real time on one core | feed | feed / bare | "
        "two processes / one |"
    )
    report("|---|---|---|---|---|---|---|")
    for ending, each in formats.items():
        bare, ours, by_two = map(statistics.median, (each.bare, each.ours, each.ours_by_two))
        report(
            f"| {ending} | {len(each.clips)} | {each.audio_s / 3600:.2f} | "
            f"{each.audio_s / bare:.0f} | {each.audio_s / ours:.0f} | {bare / ours:.2f} | "
            f"{ours / by_two:.2f} |"
        )


def _race(each: _Format, workers: ProcessPoolExecutor, is_measured: bool) -> None:
    by_size = sorted(each.clips, key=lambda clip: os.path.getsize(uri_to_path(clip.uri)))
    for seconds, work, parts in (
        (each.bare, _bare, [by_size]),
        (each.ours, _feed, [by_size]),
        (each.ours_by_two, _feed, [by_size[::2], by_size[1::2]]),
    ):
        started = time.perf_counter()
        each.audio_s = sum(workers.map(work, parts))
        if is_measured:
            seconds.append(time.perf_counter() - started)


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
    for packet in shard_packets(of_clips(clips), DecodeRule(windows, arch.min_samples)):
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
    rng = np.random.default_rng(0)
    longest = round(max(MADE_CLIPS_S) * _MADE_RATE_HZ)
    # Sums over 100 samples: softer towards high frequencies, as music is, so that FLAC shortens it.
    walk = np.cumsum(rng.standard_normal((2 * longest + 100, 2)), axis=0)
    noise = walk[100:] - walk[:-100]
    noise *= 0.5 / np.abs(noise).max()
    with tempfile.TemporaryDirectory() as folder:
        for ending in MADE_ENDINGS:
            for number, duration_s in enumerate(MADE_CLIPS_S):
                start = int(rng.integers(longest))
                part = noise[start : start + round(duration_s * _MADE_RATE_HZ)]
                soundfile.write(Path(folder) / f"{number:03}{ending}", part, _MADE_RATE_HZ)
        yield [folder]

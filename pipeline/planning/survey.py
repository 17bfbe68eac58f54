"""Hours, windows and errors of a listing, from the headers of all recordings or of a sample.

A sample is the clips with the smallest ids. Ids are hashes, so the sample is the same in each run
and as good as a random one. The clips of a container are not known before it is read, so containers
are sampled as a whole. Sums of a sample are scaled up, with a standard error from their spread.
"""

import hashlib
import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from pipeline.clips import ClipRef, Container, group_by_recording
from pipeline.io.storage import Storage
from pipeline.limits import DEFAULT_DECODER_MEMORY_BYTES
from pipeline.planning.clip_estimate import ClipEstimate, estimate_clips
from pipeline.planning.totals import Cost, ListingTotals
from pipeline.readers.intake import Intake
from pipeline.readers.lazy_reader import lazy_recording, lazy_recordings
from pipeline.readers.recording import Recording
from pipeline.table.spec import TableSpec

N_THREADS = 16
_AT_ONCE = 1024
_CONTAINERS_AT_ONCE = 8

T = TypeVar("T")
EstimateClips = Callable[[Recording], list[ClipEstimate]]
"""Estimates the clips of a recording."""
OnProgress = Callable[[int], None]
"""Called with the number of clips that have been probed so far."""


@dataclass
class Stratum:
    """Clips or containers, some or all of which were probed.

    Attributes:
        n: Number of clips or containers.
        looked: Number of clips or containers that were probed.
        tally: Sums over those.
        squares: Sum of the squares of their seconds of audio.
    """

    n: int
    looked: int = 0
    tally: ListingTotals = field(default_factory=ListingTotals)
    squares: float = 0.0

    def take(self, tally: ListingTotals, units_s: Iterable[float]) -> None:
        """Add clips or containers that were probed, each with its seconds of audio."""
        self.tally.add(tally)
        for audio_s in units_s:
            self.looked += 1
            self.squares += audio_s * audio_s

    @property
    def variance(self) -> float | None:
        """Variance of the scaled-up seconds of audio; None where fewer than two were probed."""
        if self.looked == self.n:
            return 0.0
        if self.looked < 2:
            return None
        mean = self.tally.audio_s / self.looked
        spread = max(0.0, self.squares - self.looked * mean * mean) / (self.looked - 1)
        return self.n * self.n * (1 - self.looked / self.n) * spread / self.looked


@dataclass(frozen=True)
class Survey:
    """The sums over a listing.

    Attributes:
        tally: Sums over all clips; scaled up where a sample was probed.
        looked: Number of clips that were probed.
        is_sample: Whether the listing has more clips than were probed.
        relative_error: Standard error of the seconds of audio, as a share of them; 0 where all
            clips were probed, None where the sample is too small.
    """

    tally: ListingTotals
    looked: int
    is_sample: bool
    relative_error: float | None


def survey(
    clips: Sequence[ClipRef],
    containers: Sequence[Container],
    spec: TableSpec,
    storage: Storage,
    cost: Cost,
    sample: int | None = None,
    on_progress: OnProgress = lambda _: None,
    decoder_memory_bytes: int = DEFAULT_DECODER_MEMORY_BYTES,
) -> Survey:
    """Probe the recordings of a listing.

    Args:
        clips: Clips of the listing, sorted by uri and version.
        containers: Containers of the listing.
        spec: Spec of the table.
        storage: Access to remote locations.
        cost: Returns the cost of a window.
        sample: Smallest number of clips to probe; None for all.
        on_progress: Called with the number of clips probed so far.
        decoder_memory_bytes: Memory that one step of a decoder may take, in bytes.

    Raises:
        StoreError: A store is unavailable.
    """
    predict = partial(estimate_clips, spec=spec, memory_bytes=decoder_memory_bytes)
    listed, held = Stratum(len(clips)), Stratum(len(containers))
    spans = Counter(map(_recording_of, clips))
    n_held = math.inf
    if sample is not None:
        # Clips and containers contribute half of the sample each.
        n_held = max(1, sample // 2) if clips else sample
        n_listed = max(1, sample - sample // 2) if containers else sample
        if n_listed < len(clips):
            drawn = heapq.nsmallest(n_listed, clips, key=lambda clip: clip.clip_id)
            clips = sorted(drawn, key=lambda clip: (clip.uri, clip.version, clip.member))
        containers = sorted(containers, key=_drawn_by)

    def look(refs: tuple[ClipRef, ...]) -> tuple[ListingTotals, list[float]]:
        return _of_clips(refs, spans[_recording_of(refs[0])], predict, storage, cost)

    def look_into(container: Container) -> ListingTotals:
        return _of_container(container, predict, storage, cost, spec.max_clip_bytes)

    with ThreadPoolExecutor(N_THREADS) as pool:
        for groups in _some(group_by_recording(clips), _AT_ONCE):
            for tally, seconds in pool.map(look, groups):
                listed.take(tally, seconds)
                on_progress(round(listed.tally.clips))
        for some in _some(containers, _CONTAINERS_AT_ONCE):
            if held.tally.clips >= n_held and held.looked > 1:
                break
            for tally in pool.map(look_into, some):
                held.take(tally, [tally.audio_s])
                on_progress(round(listed.tally.clips + held.tally.clips))
    return _joined(listed, held)


def _recording_of(clip: ClipRef) -> tuple[str, str]:
    return clip.uri, clip.version


def _drawn_by(container: Container) -> str:
    key = f"{container.uri}\0{container.part}".encode()
    return hashlib.blake2b(key, digest_size=16).hexdigest()


def _some(things: Iterable[T], n: int) -> Iterator[list[T]]:
    rest = iter(things)
    while some := list(itertools.islice(rest, n)):
        yield some


def _of_clips(
    refs: tuple[ClipRef, ...], n_spans: int, predict: EstimateClips, storage: Storage, cost: Cost
) -> tuple[ListingTotals, list[float]]:
    """Probe some clips of one recording that has `n_spans`; return their sums and seconds each."""
    tally, seconds = ListingTotals(), []
    found = predict(lazy_recording(refs, storage))
    for ref, outcome in zip(refs, found, strict=True):
        before_s = tally.audio_s
        tally.take(ref, outcome, cost)
        seconds.append(tally.audio_s - before_s)
    # A sample may have only some clips of a file; each counts its share of the bytes.
    n_bytes = found[0].n_bytes or refs[0].n_bytes or 0
    tally.n_bytes = n_bytes * len(refs) / n_spans
    return tally, seconds


def _of_container(
    container: Container, predict: EstimateClips, storage: Storage, cost: Cost, max_clip_bytes: int
) -> ListingTotals:
    tally, n_bytes = ListingTotals(), 0
    intake = Intake(max_clip_bytes)
    for recording in lazy_recordings(container, storage, intake):
        for ref, found in zip(recording.clips, predict(recording), strict=True):
            tally.take(ref, found, cost)
            n_bytes += found.n_bytes
    tally.n_bytes = n_bytes if container.n_bytes is None else container.n_bytes
    tally.passed_over.update(intake.passed_over)
    return tally


def _joined(*strata: Stratum) -> Survey:
    tally, looked = ListingTotals(), 0
    variances = []
    for stratum in strata:
        looked += round(stratum.tally.clips)
        tally.add(stratum.tally, stratum.n / stratum.looked if stratum.looked else 1.0)
        variances.append(stratum.variance)
    known = [variance for variance in variances if variance is not None]
    is_known = len(known) == len(variances)
    error = math.sqrt(sum(known)) / tally.audio_s if tally.audio_s else 0.0
    is_sample = any(stratum.looked < stratum.n for stratum in strata)
    return Survey(tally, looked, is_sample, error if is_known else None)

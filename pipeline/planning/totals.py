"""Sums over the clips of a listing: hours, windows and errors, which can be added and scaled."""

import bisect
import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.audio import SAMPLE_RATE_HZ
from pipeline.clips import ClipRef
from pipeline.planning.clip_estimate import ClipEstimate

DURATIONS_S = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 600.0, 3600.0)
"""Upper limits of the bins of a histogram of durations, in seconds; each limit is inclusive."""

Cost = Callable[[int, int], float]
"""Returns the cost of a window from the index of its route in the spec and its samples."""


@dataclass
class ListingTotals:
    """Sums over clips. Numbers are floats, because those of a sample are scaled.

    Attributes:
        clips: Number of clips, including those with errors.
        audio_s: Seconds of audio that will be embedded, at 32 kHz.
        endings_s: `audio_s` by the ending of the recording's name.
        n_bytes: Bytes of the files.
        timestamps: Number of timestamp rows.
        estimated_s: Seconds of audio of clips whose header does not give the exact length.
        estimated: Number of these clips, by ending.
        windows: Number of windows, by route.
        work: Cost of the windows, by route.
        rates: Number of clips by their sample rate in Hz.
        durations: Number of clips by the bin of `DURATIONS_S`.
        errors: Number of clips that cannot be embedded, by class.
        passed_over: Members of tars that are no clips, by the ending of their name.
    """

    clips: float = 0.0
    audio_s: float = 0.0
    endings_s: Counter[str] = field(default_factory=Counter)
    n_bytes: float = 0.0
    timestamps: float = 0.0
    estimated_s: float = 0.0
    estimated: Counter[str] = field(default_factory=Counter)
    windows: Counter[int] = field(default_factory=Counter)
    work: Counter[int] = field(default_factory=Counter)
    rates: Counter[int] = field(default_factory=Counter)
    durations: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    passed_over: Counter[str] = field(default_factory=Counter)

    @property
    def embedded(self) -> float:
        """Number of clips that will be embedded."""
        return self.clips - self.errors.total()

    def take(self, ref: ClipRef, outcome: ClipEstimate, cost: Cost) -> None:
        """Add a clip.

        Args:
            ref: The clip.
            outcome: Estimate of the clip.
            cost: Returns the cost of a window.
        """
        self.clips += 1
        if outcome.sample_rate_hz:
            self.rates[outcome.sample_rate_hz] += 1
        if outcome.error:
            self.errors[outcome.error] += 1
            return
        duration_s = outcome.n_samples / SAMPLE_RATE_HZ
        self.audio_s += duration_s
        self.endings_s[ref.ending] += duration_s  # type: ignore[assignment]
        self.durations[bisect.bisect_left(DURATIONS_S, duration_s)] += 1
        self.windows[outcome.route] += outcome.n_windows
        work = outcome.n_windows * cost(outcome.route, outcome.window_samples)
        self.work[outcome.route] += work  # type: ignore[assignment]
        self.timestamps += outcome.n_timestamps
        if not outcome.is_exact:
            self.estimated_s += duration_s
            self.estimated[ref.ending] += 1

    def add(self, other: "ListingTotals", factor: float = 1.0) -> None:
        """Add other sums, each multiplied by a factor."""
        for each in dataclasses.fields(self):
            ours, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(ours, Counter):
                for key, n in theirs.items():
                    ours[key] += n if factor == 1 else n * factor
            else:
                setattr(self, each.name, ours + factor * theirs)

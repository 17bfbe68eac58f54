"""Core hours of decoding a corpus, and the number of cores that keep a device busy.

The time of a device depends on windows, which overlap, and on timestamps. The time of cores depends
on the audio, which is decoded once. Only their ratio connects the two.
"""

from dataclasses import dataclass

from jobs.plan.core_speeds import CoreSpeed, CoreSpeeds
from pipeline.errors import UsageError
from pipeline.planning.totals import ListingTotals


@dataclass(frozen=True, slots=True)
class EndingCost:
    """Cost of decoding the files of one ending.

    Attributes:
        ending: Ending of the files, such as `.flac`.
        audio_s: Seconds of audio in the files.
        speed: Measured speed from which the cost is computed.
    """

    ending: str
    audio_s: float
    speed: CoreSpeed

    @property
    def hours(self) -> float:
        """Time of one core, in hours."""
        return self.audio_s / self.speed.audio_s_per_core_s / 3600

    @property
    def is_measured(self) -> bool:
        """Whether the speed was measured for this ending; else it is the slowest measured one."""
        return self.speed.ending == self.ending


@dataclass(frozen=True, slots=True)
class DecodeCost:
    """Cost of decoding a corpus on one kind of core.

    Attributes:
        core: Name of the core.
        endings: Cost of each ending of the corpus, sorted by ending.
    """

    core: str
    endings: tuple[EndingCost, ...]

    @property
    def hours(self) -> float:
        """Time of one core for all of the audio, in hours."""
        return sum(each.hours for each in self.endings)

    def cores_for(self, device_hours: float) -> float | None:
        """Return the number of cores that decode the corpus as fast as a device embeds it.

        Args:
            device_hours: Time that one device takes for the corpus, in hours.

        Returns:
            The number of cores; None if there is nothing to embed.
        """
        return self.hours / device_hours if device_hours else None


def decode_cost(totals: ListingTotals, core: str, speeds: CoreSpeeds) -> DecodeCost:
    """Estimate the cost of decoding on a core.

    An ending whose speed was not measured counts as the slowest measured ending. Too many cores
    are better than too few, as an idle device costs more than an idle core.

    Args:
        totals: Totals of the clips to decode.
        core: Name of the core.
        speeds: Measured speeds of cores.

    Raises:
        UsageError: No speed of this core is known.
    """
    if core not in speeds:
        known = ", ".join(sorted(speeds)) or "none"
        raise UsageError(
            f"core {core!r}: its speed is not known (known cores: {known}); on such a machine: "
            f"passtream bench feed --figures FILE --name {core}; then plan with --figures FILE"
        )
    by_ending = {speed.ending: speed for speed in speeds[core]}
    slowest = min(by_ending.values(), key=lambda speed: speed.audio_s_per_core_s)
    return DecodeCost(
        core,
        tuple(
            EndingCost(ending, audio_s, by_ending.get(ending, slowest))
            for ending, audio_s in sorted(totals.endings_s.items())
        ),
    )

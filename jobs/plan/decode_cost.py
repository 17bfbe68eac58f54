"""How long cores would decode a corpus, and how many of them keep a device busy meanwhile.

The model's side is of windows, which overlap, and of timestamps; this side is of the audio, which
is decoded once. What both take is divided, so neither has to know of the other.
"""

from dataclasses import dataclass

from jobs.plan.core_speeds import CoreSpeed, CoreSpeeds
from pipeline.errors import UsageError
from pipeline.planning.totals import ListingTotals


@dataclass(frozen=True, slots=True)
class EndingCost:
    """What the audio of one ending takes.

    Attributes:
        ending: of the files, as `.flac`.
        audio_s: seconds in them.
        figure: what its speed is known from.
    """

    ending: str
    audio_s: float
    speed: CoreSpeed

    @property
    def hours(self) -> float:
        """Of one core."""
        return self.audio_s / self.speed.audio_s_per_core_s / 3600

    @property
    def is_measured(self) -> bool:
        """The figure is of this ending; else it is of the slowest that was measured."""
        return self.speed.ending == self.ending


@dataclass(frozen=True, slots=True)
class DecodeCost:
    """What decoding a corpus takes of a core.

    Attributes:
        core: its name.
        endings: what those of the corpus take, sorted.
    """

    core: str
    endings: tuple[EndingCost, ...]

    @property
    def hours(self) -> float:
        """Of one core, for all of the audio."""
        return sum(each.hours for each in self.endings)

    def cores_for(self, device_hours: float) -> float | None:
        """How many cores decode the corpus while a device embeds it.

        Args:
            device_hours: that one device takes for it.

        Returns:
            None where there is nothing to embed.
        """
        return self.hours / device_hours if device_hours else None


def decode_cost(tally: ListingTotals, core: str, figures: CoreSpeeds) -> DecodeCost:
    """What decoding takes of a core.

    An ending without a figure is counted as the slowest that has one: a core too many idles, a core
    too few lets the device idle, which costs more.

    Args:
        tally: of the clips.
        core: its name.
        figures: of cores.

    Raises:
        UsageError: there is no figure of this core.
    """
    if core not in figures:
        known = ", ".join(sorted(figures)) or "none"
        raise UsageError(
            f"core {core!r}: there is no figure of it (there is {known}); on such a machine: "
            f"passtream bench feed --figures FILE --name {core}; then plan with --figures FILE"
        )
    by_ending = {figure.ending: figure for figure in figures[core]}
    slowest = min(by_ending.values(), key=lambda figure: figure.audio_s_per_core_s)
    return DecodeCost(
        core,
        tuple(
            EndingCost(ending, audio_s, by_ending.get(ending, slowest))
            for ending, audio_s in sorted(tally.endings_s.items())
        ),
    )

"""HEAR timestamps: an embedding every 50 ms, from windows around that moment.

A module looks at each moment through one or more levels: PaSST on 160 ms, PaSST on a longer window,
and the raw log-mel of six frames. Level windows are centred on one another, and reflecting a clip's
ends by half the longest window also reflects them by half of every shorter one; so one padded
stream serves all levels, and a shorter window is a slice of the longest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from models.archs import N_MELS, ArchSpec
from models.errors import ModelError

TIMESTAMP_HOP = 1600
"""Samples from one timestamp to the next: 50 ms at 32 kHz."""
TIMESTAMP_WINDOW = 5120
"""Samples of the first level: 160 ms at 32 kHz."""
MEL_FRAMES = 6
TIMESTAMP_KINDS = ("base", "base2level", "base2levelmel")


@dataclass(frozen=True, slots=True)
class Level:
    """One look at a moment.

    Attributes:
        kind: `passt` (logits and features) or `mel` (six log-mel frames, band-major).
        window: samples at 32 kHz, centred on the moment.
    """

    kind: str
    window: int


def timestamp_levels(
    kind: str, spec: ArchSpec, window: int = TIMESTAMP_WINDOW
) -> tuple[Level, ...]:
    """The levels of a HEAR module, in the order of the embedding's columns.

    Args:
        kind: `base`, `base2level` or `base2levelmel`.
        spec: the arch.
        window: samples of the first level, which the second is a multiple of.

    The second level is 800 ms, and 640 ms in `base2levelmel` of the archs with STFT hop 320; the
    mel level is six hops long (reference: base2level, base2levelmel, hop160base2lvlmel).

    Raises:
        ModelError: no such kind.
    """
    if kind not in TIMESTAMP_KINDS:
        raise ModelError(f"timestamps must be one of {', '.join(TIMESTAMP_KINDS)} (got {kind!r})")
    first = Level("passt", window)
    if kind == "base":
        return (first,)
    factor = 4 if kind == "base2levelmel" and spec.hop_samples == 320 else 5
    levels = (first, Level("passt", factor * window))
    if kind == "base2level":
        return levels
    return (*levels, Level("mel", MEL_FRAMES * spec.hop_samples))


def longest_window(levels: Sequence[Level]) -> int:
    """Samples of the longest level, which the others are slices of."""
    return max(level.window for level in levels)


def timestamp_size(levels: Sequence[Level], passt_size: int) -> int:
    """Width of the embedding.

    Args:
        levels: of the module.
        passt_size: width of what PaSST says of a window: n_classes + 768 for logits and features.
    """
    widths = {"passt": passt_size, "mel": N_MELS * MEL_FRAMES}
    return sum(widths[level.kind] for level in levels)

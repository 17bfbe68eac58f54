"""The levels of HEAR timestamp embeddings: the windows around each timestamp, every 50 ms.

A timestamp embedding combines one or more levels: PaSST on 160 ms, PaSST on a longer window, and
the raw log-mel of six frames. The windows of all levels have the same centre. A clip that is
reflected at both ends by half the longest window is also reflected by half of each shorter one.
Therefore one padded stream serves all levels, and a shorter window is a slice of the longest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from models.archs import N_MELS, ArchSpec
from models.errors import ModelError

TIMESTAMP_HOP = 1600
"""Samples from one timestamp to the next: 50 ms at 32 kHz."""
TIMESTAMP_WINDOW = 5120
"""Samples per window of the first level: 160 ms at 32 kHz."""
MEL_FRAMES = 6
"""Log-mel frames in the `mel` level."""
TIMESTAMP_KINDS = ("base", "base2level", "base2levelmel")
"""Kinds of timestamp embeddings, named like the reference's modules."""


@dataclass(frozen=True, slots=True)
class Level:
    """One part of a timestamp embedding, computed from a window around the timestamp.

    Attributes:
        kind: Output of the level: `passt` (logits and features) or `mel` (six log-mel frames,
            band-major).
        window: Samples per window at 32 kHz, centred on the timestamp.
    """

    kind: str
    window: int


def timestamp_levels(
    kind: str, spec: ArchSpec, window: int = TIMESTAMP_WINDOW
) -> tuple[Level, ...]:
    """Return the levels of a kind of timestamp embedding, in the order of its columns.

    The window of the second level is 5 times that of the first (800 ms), but 4 times (640 ms) in
    `base2levelmel` of archs with STFT hop 320. The window of the mel level is six hops. This equals
    the reference's modules base2level, base2levelmel and hop160base2lvlmel.

    Args:
        kind: One of `TIMESTAMP_KINDS`.
        spec: The arch.
        window: Samples per window of the first level.

    Raises:
        ModelError: The kind is unknown.
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
    """Return the samples per window of the longest level."""
    return max(level.window for level in levels)


def timestamp_size(levels: Sequence[Level], passt_size: int) -> int:
    """Return the number of values in a timestamp embedding.

    Args:
        levels: Levels of the embedding.
        passt_size: Values that a `passt` level contributes, n_classes + 768.
    """
    widths = {"passt": passt_size, "mel": N_MELS * MEL_FRAMES}
    return sum(widths[level.kind] for level in levels)

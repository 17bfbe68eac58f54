"""The settings of a table that decoding depends on."""

from dataclasses import dataclass

from pipeline.limits import DEFAULT_LIMITS, Limits
from pipeline.stream.windows import WindowRule


@dataclass(frozen=True, slots=True)
class DecodeRule:
    """The settings of a table that decoding depends on.

    Attributes:
        windows: Rule by which clips are cut into windows.
        min_samples: Smallest number of samples at 32 kHz that a clip of this table may have.
        pad_short: Whether shorter clips are padded with zeros instead of refused.
        timestamps: Rule by which clips are cut for their timestamps; None for no timestamps.
        limits: Limits on what a clip may cost, and on how much of it may be missing.
    """

    windows: WindowRule
    min_samples: int
    pad_short: bool = False
    timestamps: WindowRule | None = None
    limits: Limits = DEFAULT_LIMITS

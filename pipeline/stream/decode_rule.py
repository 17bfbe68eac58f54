"""What the decode side of a run needs to know of the table."""

from dataclasses import dataclass

from pipeline.limits import DEFAULT_LIMITS, Limits
from pipeline.stream.windows import WindowRule


@dataclass(frozen=True, slots=True)
class DecodeRule:
    """What the decode side needs to know of the table.

    Attributes:
        windows: how clips are cut.
        min_samples: fewest samples at 32 kHz that a clip of this table may have.
        pad_short: shorter clips are padded with zeros instead of refused.
        timestamps: how clips are cut for their timestamps; None where there are none.
        limits: what a clip may cost, and how much of it may be missing.
    """

    windows: WindowRule
    min_samples: int
    pad_short: bool = False
    timestamps: WindowRule | None = None
    limits: Limits = DEFAULT_LIMITS

"""What a check of a table found, for people and for programs."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Report:
    """What `verify` found.

    Attributes:
        shards: committed shards read.
        clips: rows of `clips`.
        windows: rows of `windows`.
        timestamps: rows of `timestamps`.
        errors: rows of `errors`, by class.
        audio_s: seconds of audio embedded.
        duplicate_vectors: rows of `clips` whose embedding equals an earlier row's.
        sample_rates_hz: clips by the source's sample rate.
        problems: what is wrong; the table passes where there is none.
        notes: what a reader may want to know.
    """

    shards: int = 0
    clips: int = 0
    windows: int = 0
    timestamps: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    audio_s: float = 0.0
    duplicate_vectors: int = 0
    sample_rates_hz: Counter[int] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Nothing is wrong."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        # Not asdict: Python 3.11's counts the items of a Counter instead of copying it.
        return {"passed": self.passed} | vars(self)

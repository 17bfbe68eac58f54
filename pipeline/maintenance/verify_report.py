"""The report of `verify`, for people and for programs."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Report:
    """The result of `verify`.

    Attributes:
        shards: Number of committed shards that were read.
        clips: Number of rows of `clips`.
        windows: Number of rows of `windows`.
        timestamps: Number of rows of `timestamps`.
        errors: Number of rows of `errors`, by class.
        audio_s: Seconds of audio embedded.
        duplicate_vectors: Number of rows of `clips` whose embedding equals an earlier row's.
        sample_rates_hz: Number of clips by the source's sample rate in Hz.
        problems: Problems of the table, one line each; the table passes if there are none.
        notes: Notes for the reader, one line each.
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
        """Whether the table has no problems."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Return the report for `--json`."""
        # Not asdict: Python 3.11's counts the items of a Counter instead of copying it.
        return {"passed": self.passed} | vars(self)

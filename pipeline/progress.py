"""Counts of what a shard, or a run, has got through."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Counts:
    """What a shard, or a run, has got through.

    Attributes:
        clips: clips that have their row, errors included.
        windows: windows of the clips embedded.
        audio_s: seconds of the clips embedded.
        errors: clips that went to `errors`, by class.
        open_clips: Clips that are under way, each as the share of it that is embedded, where its
            length is known.
        open_windows: Windows embedded of clips that are under way.
        open_audio_s: Seconds embedded of clips that are under way.
    """

    clips: int = 0
    windows: int = 0
    audio_s: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    open_clips: float = 0.0
    open_windows: int = 0
    open_audio_s: float = 0.0

    def add(self, other: "Counts") -> None:
        """Add another's counts to this one's."""
        self.clips += other.clips
        self.windows += other.windows
        self.audio_s += other.audio_s
        self.errors.update(other.errors)
        self.open_clips += other.open_clips
        self.open_windows += other.open_windows
        self.open_audio_s += other.open_audio_s

    def subtract(self, other: "Counts") -> None:
        """Take another's counts, which are in this one's, away again."""
        self.clips -= other.clips
        self.windows -= other.windows
        self.audio_s -= other.audio_s
        self.errors -= other.errors

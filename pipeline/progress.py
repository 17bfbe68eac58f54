"""Counts of the clips, windows, audio and errors that a shard or a run has processed."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Counts:
    """Counts of what a shard or a run has processed so far.

    Attributes:
        clips: Number of clips with a row, in `clips` or in `errors`.
        windows: Number of windows of the embedded clips.
        audio_s: Length of the embedded clips, in seconds.
        errors: Number of clips in `errors`, per error class.
        open_clips: Sum over the clips in flight of the fraction that is embedded, 0 to 1, as far as
            their lengths are known.
        open_windows: Number of windows embedded so far of clips in flight.
        open_audio_s: Seconds embedded so far of clips in flight.
    """

    clips: int = 0
    windows: int = 0
    audio_s: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)
    open_clips: float = 0.0
    open_windows: int = 0
    open_audio_s: float = 0.0

    def add(self, other: "Counts") -> None:
        """Add other counts to these, clips in flight included."""
        self.clips += other.clips
        self.windows += other.windows
        self.audio_s += other.audio_s
        self.errors.update(other.errors)
        self.open_clips += other.open_clips
        self.open_windows += other.open_windows
        self.open_audio_s += other.open_audio_s

    def subtract(self, other: "Counts") -> None:
        """Subtract counts that were added before, apart from clips in flight."""
        self.clips -= other.clips
        self.windows -= other.windows
        self.audio_s -= other.audio_s
        self.errors -= other.errors

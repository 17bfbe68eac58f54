"""The frames of a clip in its recording.

The result equals, sample by sample, the whole recording decoded and then cut. If the decoder cannot
seek and still give that, the recording is decoded from its start. Later steps (resampling,
measuring) get the clip's frames alone, as if the clip were a file.
"""

import math
from collections.abc import Iterator

from pipeline.decode.audio_stream import AudioStream
from pipeline.samples import Samples

Span = tuple[float, float]
ROUNDING_S = 0.005
"""Seconds by which a span may end after its recording, because manifests round their times."""


class FrameRange:
    """The range of a clip's frames in one recording.

    Args:
        span: Start and end in seconds; the end may be infinite. None for the whole recording.
        sample_rate_hz: Sample rate of the recording.

    Attributes:
        first: First frame of the clip.
        end: The frame after the clip's last one; infinite for no limit.
        position: Number of frames of the recording decoded so far.
    """

    def __init__(self, span: Span | None, sample_rate_hz: int) -> None:
        start_s, end_s = span or (0.0, math.inf)
        self.first = round(start_s * sample_rate_hz)
        self.end = round(end_s * sample_rate_hz) if end_s < math.inf else math.inf
        self.position = 0
        self._rounding = round(ROUNDING_S * sample_rate_hz)

    @property
    def n_frames(self) -> int | None:
        """Number of frames of the span; None for no limit."""
        return None if self.end == math.inf else int(self.end) - self.first

    def is_short(self, n_frames: int) -> bool:
        """Return whether the recording ends before the clip, by more than a rounding of times.

        Args:
            n_frames: Frames of the recording.
        """
        return self.end < math.inf and self.end - n_frames > self._rounding

    def frames_within(self, n_frames: int) -> int:
        """Return the number of the clip's frames in a recording of `n_frames`."""
        return max(0, int(min(self.end, n_frames)) - self.first)

    def pieces(self, sound: AudioStream) -> Iterator[Samples]:
        """Yield the clip's frames, float32 (frames, channels); may raise `DECODER_ERRORS`.

        If the span ends before the recording, the rest is not decoded, and `position` is then `end`
        or more.
        """
        self.position = sound.seek(self.first) if self.first and sound.seek else 0
        for frames in sound.pieces:
            start = max(0, self.first - self.position)
            part = frames[start : int(min(len(frames), max(0, self.end - self.position)))]
            self.position += len(frames)
            if len(part):
                yield part
            if self.position >= self.end:
                return

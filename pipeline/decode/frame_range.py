"""The part of a recording that a clip is: its frames, and no more of the others than it takes.

The result is, sample by sample, what the whole recording decoded and then cut would give. Where a
decoder cannot begin in the middle and still do that, the recording is decoded from its start. What
comes later (resampling, measuring) sees the part only, as if it were a file of its own.
"""

import math
from collections.abc import Iterator

from pipeline.decode.audio_stream import AudioStream
from pipeline.samples import Samples

Span = tuple[float, float]
ROUNDING_S = 0.005
"""By so much the end of a span may lie after the recording's, as manifests round their times."""


class FrameRange:
    """A clip's frames of one recording.

    Args:
        span: start and end in seconds; the end may be infinite. None for the whole recording.
        sample_rate_hz: of the recording.

    Attributes:
        first: the clip's first frame.
        end: the frame behind its last one, as asked for; infinite where there is no limit.
        at: how many frames of the recording have gone by.
    """

    def __init__(self, span: Span | None, sample_rate_hz: int) -> None:
        start_s, end_s = span or (0.0, math.inf)
        self.first = round(start_s * sample_rate_hz)
        self.end = round(end_s * sample_rate_hz) if end_s < math.inf else math.inf
        self.position = 0
        self._rounding = round(ROUNDING_S * sample_rate_hz)

    @property
    def n_frames(self) -> int | None:
        """How many frames are asked for; None where there is no limit."""
        return None if self.end == math.inf else int(self.end) - self.first

    def is_short(self, n_frames: int) -> bool:
        """Return whether the recording ends before the clip does, by more than times are rounded.

        Args:
            n_frames: Frames of the recording.
        """
        return self.end < math.inf and self.end - n_frames > self._rounding

    def frames_within(self, n_frames: int) -> int:
        """How many frames the clip has in a recording of `n_frames`."""
        return max(0, int(min(self.end, n_frames)) - self.first)

    def pieces(self, sound: AudioStream) -> Iterator[Samples]:
        """Float32 (frames, channels) of the clip; may raise `DECODER_ERRORS`.

        Where the span ends first, the end of the recording is not looked at: `at` is then `end` or
        more.
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

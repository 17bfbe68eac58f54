"""The range of frames that a clip takes from its recording.

The clip's samples equal those of the whole recording, decoded and then cut. If the decoder cannot
seek without changing them, the recording is decoded from its start. Later steps (resampling,
measuring) get the clip's frames alone, as if the clip were a file.
"""

import math
from collections.abc import Iterator

from pipeline.decode.audio_stream import AudioStream
from pipeline.samples import Samples

Span = tuple[float, float]
"""Start and end of a clip in its recording, in seconds; the end may be infinite."""
ROUNDING_S = 0.005
"""Seconds by which a clip may end after its recording, because manifests round their times."""


class FrameRange:
    """The range of frames that one clip takes from its recording.

    Args:
        span: Start and end in seconds; the end may be infinite. None for the whole recording.
        sample_rate_hz: Sample rate of the recording in Hz.

    Attributes:
        first: Index of the clip's first frame.
        end: Index of the frame after the clip's last frame; infinite if the clip has no end.
        position: Index of the next frame that the decoder returns. After `pieces` has been
            consumed, `end` or more, or the number of frames in the recording.
    """

    def __init__(self, span: Span | None, sample_rate_hz: int) -> None:
        start_s, end_s = span or (0.0, math.inf)
        self.first = round(start_s * sample_rate_hz)
        self.end = round(end_s * sample_rate_hz) if end_s < math.inf else math.inf
        self.position = 0
        self._tolerance_frames = round(ROUNDING_S * sample_rate_hz)

    @property
    def n_frames(self) -> int | None:
        """Length of the clip in frames; None if the clip has no end."""
        return None if self.end == math.inf else int(self.end) - self.first

    def is_short(self, n_frames: int) -> bool:
        """Return whether the recording ends before the clip, by more than `ROUNDING_S`.

        Args:
            n_frames: Number of frames in the recording.
        """
        return self.end < math.inf and self.end - n_frames > self._tolerance_frames

    def frames_within(self, n_frames: int) -> int:
        """Return how many of the clip's frames a recording contains.

        Args:
            n_frames: Number of frames in the recording.
        """
        return max(0, int(min(self.end, n_frames)) - self.first)

    def pieces(self, stream: AudioStream) -> Iterator[Samples]:
        """Yield the clip's frames, float32 (frames, channels); may raise `DECODER_ERRORS`.

        Frames after the clip are not decoded, beyond the piece in which the clip ends.

        Args:
            stream: Stream of the recording; no piece has been taken from it.
        """
        self.position = stream.seek(self.first) if self.first and stream.seek else 0
        for frames in stream.pieces:
            start = max(0, self.first - self.position)
            kept = frames[start : int(min(len(frames), max(0, self.end - self.position)))]
            self.position += len(frames)
            if len(kept):
                yield kept
            if self.position >= self.end:
                return

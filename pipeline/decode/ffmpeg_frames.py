"""Decoding of the frames of one audio track in an open PyAV container.

If a file has several audio tracks, its default track is preferred. Damage at the end of a track
loses the damaged frames and is reported. Damage in the middle is an error, because the duration of
the lost audio is unknown. AAC and AC-3 without a container are an exception: their decoders find
the next frame by themselves, so only the damaged frames are lost.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import av

from pipeline.errors import CannotDecodeError

_TIMED_FORMATS = ("asf", "avi", "flv", "matroska", "mpc", "mpc8", "tta", "wv")
"""Containers (FFmpeg's names) whose frame times are continuous, so that a jump is lost audio."""
_MAX_JUMP_S = 0.05
"""Largest difference between the end of a frame and the time of the next, in seconds."""
_MAX_MISSING_S = {
    "flv": 0.25,
    "matroska": 0.25,
    "mpc": 0.05,
    "mpc8": 0.05,
    "tta": 0.05,
    "wv": 0.05,
}
"""Time by which audio may end before its declared end, in seconds, per container (FFmpeg's name).

Other containers do not declare the end of the audio exactly enough to compare it.
"""
_BARE_FORMATS = ("aac", "ac3", "eac3")
"""Formats without a container, in which a decoder finds the next frame after damage."""
_MAX_FAILED, _MAX_FAILED_SHARE = 64, 0.05
"""Largest number of packets that may fail, and their largest share of the decoded frames.

The larger of both limits applies. 64 packets are about 1.5 s in most formats.
"""


def audio_tracks(container: Any) -> list[int]:
    """Return the indices of the audio tracks that have a decoder, default tracks first.

    Args:
        container: Open PyAV container.

    Raises:
        CannotDecodeError: The container has no audio track.
        ValueError: FFmpeg has no decoder for any of the audio tracks.
    """
    tracks = container.streams.audio
    if not tracks:
        raise CannotDecodeError("no_audio", "has no audio stream")
    known = [track for track in tracks if track.codec_context is not None]
    if not known:
        raise ValueError("has no decoder for its codec")
    default = av.stream.Disposition.default
    known.sort(key=lambda track: not track.disposition & default)
    return [track.index for track in known]


def track_frames(container: Any, track: int, losses: list[str]) -> Iterator[Any]:
    """Yield the decoded frames of a track.

    Args:
        container: Open PyAV container; its packets are consumed.
        track: Index of the track in the container.
        losses: List to which a phrase is appended for each kind of audio that is missing or cannot
            be decoded.

    Raises:
        av.FFmpegError: The track is damaged before its end, or too many packets are damaged.
    """
    stream = container.streams[track]
    if stream.codec_context.name == "flac":
        # By default FFmpeg ignores the checksums and decodes damaged frames as noise.
        stream.codec_context.options = {"err_detect": "crccheck+explode"}
    family = container.format.name.partition(",")[0]
    gaps = _GapDetector(
        losses, _declared_end_s(container, track), _MAX_MISSING_S.get(family, math.inf)
    )
    failure: av.FFmpegError | None = None
    n_frames = n_failed = 0
    for packet in _demux(container, stream, gaps):
        if packet.is_corrupt and family == "mov":
            losses.append("the file ends before the audio that its header lists")
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            failure = failure or error
            n_failed += 1
            continue
        # The last packet is empty and flushes the decoder: its frames belong to earlier packets.
        if failure and frames and packet.size and family not in _BARE_FORMATS:
            raise failure
        n_frames += len(frames)
        if family in _TIMED_FORMATS:
            gaps.check(frames)
        yield from frames
    if failure is None:
        gaps.check_end()
    elif not n_frames or n_failed > max(_MAX_FAILED, _MAX_FAILED_SHARE * n_frames):
        raise failure
    else:
        losses.append(f"{n_failed} parts of the audio cannot be decoded")


def _demux(container: Any, stream: Any, gaps: "_GapDetector") -> Iterator[Any]:
    """Yield the packets of a stream; ignore errors after its declared end."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            if gaps.is_at_end and not isinstance(error, MemoryError):
                return  # data after the audio does not belong to the recording
            raise
        if packet is None:
            return
        yield packet


class _GapDetector:
    """A detector of missing audio, which compares the times of frames with their lengths.

    Args:
        losses: List to which a phrase is appended when the first gap is found.
        declared_end_s: End of the track as its header declares it, in seconds; 0 if it
            declares none.
        max_missing_s: Time by which the track may end before its declared end, in seconds;
            infinite if the end is not compared.
    """

    def __init__(self, losses: list[str], declared_end_s: float, max_missing_s: float) -> None:
        self._losses = losses
        self._declared_end_s = declared_end_s
        self._max_missing_s = max_missing_s
        self._end_s: float | None = None
        self._has_reported = False

    def check(self, frames: Iterable[Any]) -> None:
        """Report a loss if a frame begins later than the frame before it ended."""
        for frame in frames:
            time_s = frame.time
            if time_s is None:
                continue
            if self._end_s is not None and time_s - self._end_s > _MAX_JUMP_S:
                self._report(f"audio is missing from {self._end_s:.2f} s to {time_s:.2f} s")
            self._end_s = time_s + frame.samples / max(1, frame.sample_rate)

    @property
    def is_at_end(self) -> bool:
        """Whether all audio that the header declares has been decoded."""
        if self._end_s is None or not self._declared_end_s or math.isinf(self._max_missing_s):
            return False
        return self._declared_end_s - self._end_s <= self._max_missing_s

    def check_end(self) -> None:
        """Report a loss if the last frame ended before the declared end of the track."""
        if self._end_s is not None and self._declared_end_s - self._end_s > self._max_missing_s:
            self._report(f"audio is missing after {self._end_s:.2f} s")

    def _report(self, loss: str) -> None:
        if not self._has_reported:  # one phrase is enough for a recording
            self._losses.append(loss)
        self._has_reported = True


def _declared_end_s(container: Any, track: int) -> float:
    """Return the end of a track in seconds as the container declares it; 0 if it declares none."""
    stream = container.streams[track]
    if stream.duration and stream.time_base:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    # The duration of a container with several streams may be the duration of its video.
    if len(container.streams) > 1 or not container.duration:
        return 0.0
    return float(container.duration / av.time_base)

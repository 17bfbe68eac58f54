"""The decoded frames of one audio track of a container that FFmpeg has opened.

Of several tracks the file's default track is taken, if it can be decoded. Damage at the end of a
track loses the damaged frames, and is reported. Damage in the middle is an error, because the
missing time is unknown. Only bare AAC and AC-3, whose frames are found again one by one, lose just
the damaged frames.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import av

from pipeline.errors import CannotDecodeError

_TIMED = ("asf", "avi", "flv", "matroska", "mpc", "mpc8", "tta", "wv")
"""Containers in which the times of frames do not jump."""
_MOST_JUMP_S = 0.05
_MOST_MISSING_S = {
    "flv": 0.25,
    "matroska": 0.25,
    "mpc": 0.05,
    "mpc8": 0.05,
    "tta": 0.05,
    "wv": 0.05,
}
"""Seconds by which audio may end before the duration that its container declares."""
_BARE = ("aac", "ac3", "eac3")
_MOST_FAILED, _MOST_FAILED_SHARE = 64, 0.05
"""Packets that may fail: about a second and a half of most formats, or more of a long recording."""


def audio_tracks(container: Any) -> list[int]:
    """Return the indices of the audio tracks, the ones to be preferred first.

    Args:
        container: Container that PyAV has opened.

    Raises:
        CannotDecodeError: There are none.
        ValueError: There is no decoder for any of them.
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
        container: Container that PyAV has opened.
        track: Index of the track.
        losses: Gets a phrase if the end of the track cannot be decoded.

    Raises:
        av.FFmpegError: More than that cannot be decoded.
    """
    stream = container.streams[track]
    if stream.codec_context.name == "flac":
        # FFmpeg makes noise of what is damaged, and looks at the checksums only if it is told to.
        stream.codec_context.options = {"err_detect": "crccheck+explode"}
    family = container.format.name.partition(",")[0]
    clock = _Clock(losses, _declared_s(container, track), _MOST_MISSING_S.get(family, math.inf))
    failure: av.FFmpegError | None = None
    n_frames = n_failed = 0
    for packet in _packets(container, stream, clock):
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
        # The last packet is empty; what comes out of it belongs to those before.
        if failure and frames and packet.size and family not in _BARE:
            raise failure
        n_frames += len(frames)
        if family in _TIMED:
            clock.check(frames)
        yield from frames
    if failure is None:
        clock.check_end()
    elif not n_frames or n_failed > max(_MOST_FAILED, _MOST_FAILED_SHARE * n_frames):
        raise failure
    else:
        losses.append(f"{n_failed} parts of the audio cannot be decoded")


def _packets(container: Any, stream: Any, clock: "_Clock") -> Iterator[Any]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            if clock.is_at_end and not isinstance(error, MemoryError):
                return  # what follows the audio is no part of it
            raise
        if packet is None:
            return
        yield packet


class _Clock:
    """A comparison of the times of frames with their lengths.

    Args:
        losses: List that gets a phrase if there is more time than audio.
        declared_s: End of the track by its header in seconds; 0 where it is not declared.
        most_missing_s: Seconds by which the track may end before that.
    """

    def __init__(self, losses: list[str], declared_s: float, most_missing_s: float) -> None:
        self._losses = losses
        self._declared_s = declared_s
        self._most_missing_s = most_missing_s
        self._end_s: float | None = None
        self._has_jumped = False

    def check(self, frames: Iterable[Any]) -> None:
        """Check that frames begin where the previous frames ended."""
        for frame in frames:
            time_s = frame.time
            if time_s is None:
                continue
            if self._end_s is not None and time_s - self._end_s > _MOST_JUMP_S:
                self._report(f"audio is missing from {self._end_s:.2f} s to {time_s:.2f} s")
            self._end_s = time_s + frame.samples / max(1, frame.sample_rate)

    @property
    def is_at_end(self) -> bool:
        """Whether all audio that the header declares has been decoded."""
        if self._end_s is None or not self._declared_s or math.isinf(self._most_missing_s):
            return False
        return self._declared_s - self._end_s <= self._most_missing_s

    def check_end(self) -> None:
        """Check that the last frame ended where the track does."""
        if self._end_s is not None and self._declared_s - self._end_s > self._most_missing_s:
            self._report(f"audio is missing after {self._end_s:.2f} s")

    def _report(self, loss: str) -> None:
        if not self._has_jumped:  # once is enough
            self._losses.append(loss)
        self._has_jumped = True


def _declared_s(container: Any, track: int) -> float:
    """Return the end of a track as the container declares it; 0 where it does not."""
    stream = container.streams[track]
    if stream.duration and stream.time_base:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    # The duration of the whole may be that of a video.
    if len(container.streams) > 1 or not container.duration:
        return 0.0
    return float(container.duration / av.time_base)

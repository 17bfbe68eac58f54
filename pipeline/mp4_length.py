"""How much audio the tables of an MP4 or QuickTime file list, whichever codec is in it.

The header counts time, and the tables list packets. Both agree in a sound file, so that the length
is known before anything is decoded. Encoders of Apple declare the samples that the decoder leaves
out at the start as a part of the duration; recorders that lose a packet give the one before it a
longer time.
"""

from dataclasses import dataclass
from typing import Any

BLOCK_FRAMES = 2048
"""The longest packet of AAC, in samples: as many may be missing from a sound file whose tables are
irregular."""


@dataclass(frozen=True, slots=True)
class Mp4Length:
    """Length of an audio track.

    Attributes:
        n_frames: Number of samples per channel.
        is_doubtful: Whether decoding may find another number: the tables are irregular, or count
            in another unit than samples.
    """

    n_frames: int
    is_doubtful: bool


def mp4_length(stream: Any, rate_hz: int) -> Mp4Length | None:
    """Return the length of a track of an MP4 file; None where it declares none.

    Args:
        stream: Audio stream of a container that PyAV has opened.
        rate_hz: Sample rate of the decoded audio in Hz.
    """
    if not stream.duration or not stream.time_base:
        return None
    unit = stream.time_base * rate_hz
    n_frames = round((stream.duration - _left_out(stream)) * unit)
    # Two samples a unit: AAC whose upper bands the decoder adds, which doubles the rate.
    is_regular = unit in (1, 2) and _is_regular(stream)
    return Mp4Length(max(0, n_frames), not is_regular)


def _left_out(stream: Any) -> int:
    """Return the time at the start of the duration that the decoder leaves out."""
    entries = stream.index_entries
    if stream.start_time is None or not len(entries):
        return 0
    skipped: int = stream.start_time - max(0, entries[0].timestamp)
    return max(0, skipped)


def _is_regular(stream: Any) -> bool:
    """Return whether all packets that the tables list follow at one distance."""
    entries = stream.index_entries
    if len(entries) < 2:
        return True
    first = entries[0].timestamp
    step = entries[1].timestamp - first
    return bool(entries[len(entries) - 1].timestamp - first == (len(entries) - 1) * step)

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


def read_mp4_length(stream: Any, rate_hz: int) -> Mp4Length | None:
    """Return the length of a track of an MP4 file; None where it declares none.

    Args:
        stream: Audio stream of a container that PyAV has opened.
        rate_hz: Sample rate of the decoded audio in Hz.
    """
    if not stream.duration or not stream.time_base:
        return None
    unit = stream.time_base * rate_hz
    entries = stream.index_entries
    # Two samples a unit: AAC whose upper bands the decoder adds, which doubles the rate.
    is_doubtful = unit not in (1, 2)
    duration, left_out = stream.duration, 0
    if len(entries) > 1:
        first, second, last = (entries[at].timestamp for at in (0, 1, len(entries) - 1))
        start, step = max(0, first), second - first
        is_doubtful |= last - first != (len(entries) - 1) * step
        if last - start >= duration:  # a whole packet behind the end
            duration, is_doubtful = last + step - start, True
        # What the decoder leaves out at the start is in the duration where no packet is before 0.
        left_out = max(0, (stream.start_time or 0) - start)
    return Mp4Length(max(0, round((duration - left_out) * unit)), is_doubtful)

"""A reader of the audio length of an MP4 or QuickTime file, for any codec.

The header declares a duration, and the tables list packets. In an intact file both agree, so the
length is known before decoding. Two kinds of files need care: Apple's encoders include the samples
that the decoder drops at the start in the duration, and recorders that lose a packet extend the
time of the packet before it.
"""

from dataclasses import dataclass
from typing import Any

BLOCK_FRAMES = 2048
"""Length of the longest AAC packet in samples.

An intact file with irregular tables may decode to fewer samples than declared, by up to a packet.
"""


@dataclass(frozen=True, slots=True)
class Mp4Length:
    """The declared length of an audio track.

    Attributes:
        n_frames: Number of samples per channel at the decoded rate.
        is_doubtful: Whether decoding may yield another number, because the tables are irregular or
            count in a unit other than samples.
    """

    n_frames: int
    is_doubtful: bool


def read_mp4_length(stream: Any, rate_hz: int) -> Mp4Length | None:
    """Return the declared length of an MP4 track, or None if it declares none.

    Args:
        stream: Audio stream of a container opened with PyAV.
        rate_hz: Sample rate of the decoded audio in Hz.
    """
    if not stream.duration or not stream.time_base:
        return None
    unit = stream.time_base * rate_hz
    entries = stream.index_entries
    # A unit is two samples in AAC with SBR: the decoder adds the upper bands and doubles the rate.
    is_doubtful = unit not in (1, 2)
    duration, dropped = stream.duration, 0
    if len(entries) > 1:
        first, second, last = (entries[at].timestamp for at in (0, 1, len(entries) - 1))
        start, step = max(0, first), second - first
        is_doubtful |= last - first != (len(entries) - 1) * step
        if last - start >= duration:  # a whole packet lies after the declared end
            duration, is_doubtful = last + step - start, True
        # If no packet starts before 0, the duration includes the samples dropped at the start.
        dropped = max(0, (stream.start_time or 0) - start)
    return Mp4Length(max(0, round((duration - dropped) * unit)), is_doubtful)

"""The events of a decoded shard: windows and timestamps, and the end of each clip.

Events come clip by clip, in the shard's order: a `ClipStart`, for long clips a `ClipLength`, any
number of `WindowBlock`s and `TimestampBlock`s, then one `ClipDone` or `ClipFailed`. After the last
clip comes a `ShardEnd` with the totals, so that a stream that was cut off is noticed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.clips import ClipRef
from pipeline.decode.quality import SILENCE, Quality
from pipeline.samples import Samples
from pipeline.stream.windows import WindowBlock


@dataclass(frozen=True, slots=True)
class ClipStart:
    """The start of a clip; the events that follow belong to it.

    Attributes:
        clip: Index of the clip in its shard.
        ref: The clip. The clips of a container are not known before.
    """

    clip: int
    ref: ClipRef


@dataclass(frozen=True, slots=True)
class ClipLength:
    """The length of a long clip by its header, for showing progress; it may be wrong.

    Attributes:
        clip: Index of the clip in its shard.
        n_samples: Samples at 32 kHz.
    """

    clip: int
    n_samples: int


@dataclass(frozen=True, slots=True)
class TimestampBlock:
    """Consecutive timestamps of one clip, in the reflected stream that their windows lie in.

    Attributes:
        clip: Index of the clip in its shard.
        first_index: Index of the first timestamp.
        n: Number of timestamps.
        pcm: Float32 samples at 32 kHz, from the start of the first timestamp's window to the end of
            the last one's.
    """

    clip: int
    first_index: int
    n: int
    pcm: Samples


@dataclass(frozen=True, slots=True)
class ClipDone:
    """The end of a clip, after all of its windows and timestamps."""

    clip: int
    n_samples: int
    n_windows: int
    sample_rate_hz: int
    channels: int
    decoded_short: bool
    n_timestamps: int = 0
    quality: Quality = SILENCE


@dataclass(frozen=True, slots=True)
class ClipFailed:
    """The error of a clip; its windows and timestamps that were sent do not count."""

    clip: int
    stage: str
    error_class: str
    message: str


@dataclass(frozen=True, slots=True)
class ShardEnd:
    """The end of a shard, after all of its clips.

    Attributes:
        n_clips: Number of clips.
        n_windows: Number of windows of all clips.
        n_timestamps: Number of timestamps of all clips.
        seconds: Seconds that decoding took, by stage; not compared.
        passed_over: Members of tars that are no clips, by the ending of their name; not compared.
    """

    n_clips: int
    n_windows: int
    n_timestamps: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False, repr=False)
    passed_over: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)


Event = ClipStart | ClipLength | WindowBlock | TimestampBlock | ClipDone | ClipFailed | ShardEnd

"""What the decode side of a shard says: windows, and what became of each clip.

Events come clip by clip in the shard's order: a `ClipStart`, for long clips a `ClipLength`, any
number of `WindowBlock`s and `TimestampBlock`s, then one `ClipDone` or `ClipFailed`; after the last
clip a `ShardEnd` with the totals, by which a stream that was cut off shows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.audio import Samples
from pipeline.clips import ClipRef
from pipeline.decode.quality import SILENCE, Quality
from pipeline.stream.windows import WindowBlock


@dataclass(frozen=True, slots=True)
class ClipStart:
    """What follows is of this clip.

    Attributes:
        clip: its place in the shard.
        ref: which clip it is; a container's clips are not known before.
    """

    clip: int
    ref: ClipRef


@dataclass(frozen=True, slots=True)
class ClipLength:
    """Length of a long clip as its header has it, for showing progress; it may be wrong.

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
        clip: the clip's place in its shard.
        first_index: of the first timestamp.
        n: how many.
        pcm: float32 samples, from the start of the first one's window to the end of the last one's.
    """

    clip: int
    first_index: int
    n: int
    pcm: Samples


@dataclass(frozen=True, slots=True)
class ClipDone:
    """All windows and timestamps of this clip have been sent."""

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
    """This clip cannot be embedded; windows and timestamps of it that were sent do not count."""

    clip: int
    stage: str
    error_class: str
    message: str


@dataclass(frozen=True, slots=True)
class ShardEnd:
    """The shard's clips have all been sent.

    Attributes:
        n_clips: how many.
        n_windows: of all of them.
        n_timestamps: of all of them.
        seconds: that the decode side took, by stage; not compared.
        passed_over: Members of tars that are no clips, by the ending of their name; not compared.
    """

    n_clips: int
    n_windows: int
    n_timestamps: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False, repr=False)
    passed_over: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)


Event = ClipStart | ClipLength | WindowBlock | TimestampBlock | ClipDone | ClipFailed | ShardEnd

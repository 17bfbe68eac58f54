"""The decode side of a shard as one stream: windows, and what became of each clip.

Events come clip by clip in the shard's order: any number of `WindowBlock`s, then one `ClipDone` or
`ClipFailed`; after the last clip a `ShardEnd` with the totals, by which a stream that was cut off
shows. They travel in packets, lists of a few megabytes, because a Ray object for every short clip
would cost more than decoding it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.clips import SAMPLE_RATE_HZ, ClipRef
from pipeline.decode import ClipReader
from pipeline.errors import ClipError
from pipeline.windows import WindowBlock, WindowCutter, WindowRule

PACKET_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class DecodeRule:
    """What the decode side needs to know of the table.

    Attributes:
        windows: how clips are cut.
        min_samples: fewest samples at 32 kHz that the model takes.
        pad_short: shorter clips are padded with zeros instead of refused.
    """

    windows: WindowRule
    min_samples: int
    pad_short: bool = False


@dataclass(frozen=True, slots=True)
class ClipDone:
    """All windows of this clip have been sent."""

    clip: int
    n_samples: int
    n_windows: int
    sample_rate_hz: int
    channels: int
    decoded_short: bool


@dataclass(frozen=True, slots=True)
class ClipFailed:
    """This clip cannot be embedded; windows of it that were sent do not count."""

    clip: int
    stage: str
    error_class: str
    message: str


@dataclass(frozen=True, slots=True)
class ShardEnd:
    """The shard's clips have all been sent."""

    n_clips: int
    n_windows: int


Event = WindowBlock | ClipDone | ClipFailed | ShardEnd


def clip_events(ref: ClipRef, clip: int, rule: DecodeRule) -> Iterator[Event]:
    """Events of one clip.

    Args:
        ref: the clip.
        clip: its place in the shard, written on the events.
        rule: how to cut it.
    """
    reader, cutter = ClipReader(ref), WindowCutter(rule.windows, clip)
    try:
        for piece in reader.pieces():
            yield from cutter.push(piece)
        for block in cutter.finish():
            yield _long_enough(block, ref, rule)
    except ClipError as error:
        yield ClipFailed(clip, error.stage, error.error_class, error.message)
        return
    yield ClipDone(
        clip,
        cutter.n_samples,
        cutter.n_windows,
        reader.sample_rate_hz,
        reader.channels,
        reader.decoded_short,
    )


def _long_enough(block: WindowBlock, ref: ClipRef, rule: DecodeRule) -> WindowBlock:
    missing = rule.min_samples - block.length
    if missing <= 0:
        return block
    if not rule.pad_short:
        raise ClipError(
            "window",
            "too_short",
            f"{ref.uri}: {block.length} samples at 32 kHz "
            f"({block.length / SAMPLE_RATE_HZ:.4f} s), the model takes at least "
            f"{rule.min_samples} ({rule.min_samples / SAMPLE_RATE_HZ:.4f} s); "
            "--pad-short pads such clips with zeros",
        )
    padded = np.pad(block.pcm, (0, missing))
    return WindowBlock(block.clip, block.first_index, len(padded), block.offsets, padded)


def shard_packets(
    clips: Sequence[ClipRef], rule: DecodeRule, packet_bytes: int = PACKET_BYTES
) -> Iterator[list[Event]]:
    """All events of a shard, in packets of about `packet_bytes` of samples."""
    packet: list[Event] = []
    size = n_windows = 0
    for clip, ref in enumerate(clips):
        for event in clip_events(ref, clip, rule):
            packet.append(event)
            if isinstance(event, WindowBlock):
                n_windows += len(event.offsets)
                size += event.pcm.nbytes
            if size >= packet_bytes:
                yield packet
                packet, size = [], 0
    packet.append(ShardEnd(len(clips), n_windows))
    yield packet

"""The decode side of a shard as one stream of events, in packets.

Packets are lists of a few megabytes, because a Ray object for every short clip would cost more than
decoding it.
"""

import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import numpy as np

from pipeline.audio import SAMPLE_RATE_HZ, Samples
from pipeline.clips import ClipRef
from pipeline.errors import BrokenStreamError, ClipError, PipelineError
from pipeline.readers.recording import Recording
from pipeline.stopwatch import Stopwatch
from pipeline.stream.clip_decoder import ClipReader
from pipeline.stream.decode_rule import DecodeRule
from pipeline.stream.events import (
    ClipDone,
    ClipFailed,
    ClipLength,
    ClipStart,
    Event,
    ShardEnd,
    TimestampBlock,
)
from pipeline.stream.windows import WindowBlock, WindowCutter

PACKET_BYTES = 8 << 20
NOTHING: Mapping[str, int] = MappingProxyType({})
LONG_CLIP_S = 120.0
"""Clips of this length or longer show their progress before they are complete."""
INTERNAL = "internal"
"""Error class of clips that make passtream itself fail, twice."""
POISON = "poison"
"""Error class of clips that kill the process that decodes them, or take all of its memory."""


def clip_events(recording: Recording, clip: int, rule: DecodeRule) -> Iterator[Event]:
    """Events of one clip.

    Args:
        recording: the clip.
        clip: its place in the shard, written on the events.
        rule: how to cut it.
    """
    yield ClipStart(clip, recording.ref)
    try:
        yield from _cut_clip(recording, clip, rule)
    except ClipError as error:
        yield _failed(clip, error)
    except (PipelineError, MemoryError):
        raise
    except Exception as error:
        yield _failed(clip, _second_try(recording, rule, error))


def _second_try(recording: Recording, rule: DecodeRule, first: Exception) -> ClipError:
    """Decode a clip once more after an error that nobody foresaw, and return what the clip gets.

    Args:
        recording: The clip.
        rule: How to cut it.
        first: What the first try raised.

    Raises:
        BrokenStreamError: The second try finds nothing wrong, so the fault is not the clip's.
    """
    try:
        for _ in _cut_clip(recording, 0, rule):
            pass
    except ClipError as error:
        return error
    except (PipelineError, MemoryError):
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = " ".join(str(error).split())
        return ClipError(
            "decode",
            INTERNAL,
            f"{recording.ref.name}: {type(error).__name__}: {said} ({Path(where.filename).name}:"
            f"{where.lineno}), in two tries; please report it, with the file if you can",
        )
    raise BrokenStreamError(
        f"{recording.ref.name}: failed once ({type(first).__name__}: {first}) and not again"
    ) from first


def _failed(clip: int, error: ClipError) -> ClipFailed:
    return ClipFailed(clip, error.stage, error.error_class, error.message)


def _cut_clip(recording: Recording, clip: int, rule: DecodeRule) -> Iterator[Event]:
    """Yield the windows of a clip, and its `ClipDone` last."""
    reader, cutter = ClipReader(recording, rule.limits), _ClipCutter(rule, clip)
    for piece in reader.pieces():
        if not cutter.n_samples and reader.about_samples >= LONG_CLIP_S * SAMPLE_RATE_HZ:
            yield ClipLength(clip, reader.about_samples)
        yield from cutter.push(piece)
    n_samples = cutter.n_samples
    if missing := max(0, rule.min_samples - n_samples):
        if not rule.pad_short:
            raise _too_short(recording.ref, n_samples, rule.min_samples)
        yield from cutter.push(np.zeros(missing, np.float32))
    yield from cutter.finish()
    yield ClipDone(
        clip,
        n_samples,
        cutter.n_windows,
        reader.sample_rate_hz,
        reader.channels,
        reader.decoded_short,
        cutter.n_timestamps,
        reader.quality,
    )


class _ClipCutter:
    """Cuts one clip into windows and, where the rule has them, into timestamps."""

    def __init__(self, rule: DecodeRule, clip: int) -> None:
        self._windows = WindowCutter(rule.windows, clip)
        self._timestamps = (
            WindowCutter(rule.timestamps, clip, full_blocks=True) if rule.timestamps else None
        )

    @property
    def n_samples(self) -> int:
        return self._windows.n_samples

    @property
    def n_windows(self) -> int:
        return self._windows.n_windows

    @property
    def n_timestamps(self) -> int:
        return self._timestamps.n_windows if self._timestamps else 0

    def push(self, piece: Samples) -> Iterator[Event]:
        yield from self._windows.push(piece)
        if self._timestamps:
            yield from map(_timestamps, self._timestamps.push(piece))

    def finish(self) -> Iterator[Event]:
        yield from self._windows.finish()
        if self._timestamps:
            yield from map(_timestamps, self._timestamps.finish())


def _timestamps(block: WindowBlock) -> TimestampBlock:
    return TimestampBlock(block.clip, block.first_index, len(block.offsets), block.pcm)


def _too_short(ref: ClipRef, n_samples: int, min_samples: int) -> ClipError:
    return ClipError(
        "window",
        "too_short",
        f"{ref.name}: {n_samples} samples at 32 kHz ({n_samples / SAMPLE_RATE_HZ:.4f} s), the "
        f"model takes at least {min_samples} ({min_samples / SAMPLE_RATE_HZ:.4f} s) for this "
        "table; --pad-short pads such clips with zeros",
    )


def shard_packets(
    recordings: Iterable[Recording],
    rule: DecodeRule,
    packet_bytes: int = PACKET_BYTES,
    poison: frozenset[int] = frozenset(),
    passed_over: Mapping[str, int] = NOTHING,
) -> Iterator[list[Event]]:
    """All events of a shard, in packets of about `packet_bytes` of samples.

    Args:
        recordings: of the shard.
        rule: how to cut them.
        packet_bytes: 0 for a packet an event.
        poison: places of clips that are failed without a look.
        passed_over: What the recordings leave out, counted by ending; complete at their end.
    """
    watch = Stopwatch()
    watch.switch("decode")
    clips = (
        _poisonous(recording, clip)
        if clip in poison
        else clip_events(_watched(recording, watch), clip, rule)
        for clip, recording in enumerate(watch.each(recordings, "fetch"))
    )
    yield from pack_events(clips, packet_bytes, watch, passed_over)


def pack_events(
    clips: Iterable[Iterable[Event]],
    packet_bytes: int,
    watch: Stopwatch,
    passed_over: Mapping[str, int] = NOTHING,
) -> Iterator[list[Event]]:
    """Events in packets of about `packet_bytes` of samples, and the `ShardEnd` behind them.

    Args:
        clips: the events of each clip of a shard.
        packet_bytes: 0 for a packet an event.
        watch: of what makes the events; stands while a packet is with the one who takes it.
        passed_over: What the clips leave out, counted by ending; complete at their end.
    """
    packet: list[Event] = []
    size = n_clips = n_windows = n_timestamps = 0
    for events in clips:
        n_clips += 1
        for event in events:
            packet.append(event)
            if isinstance(event, WindowBlock | TimestampBlock):
                size += event.pcm.nbytes
            if isinstance(event, WindowBlock):
                n_windows += len(event.offsets)
            if isinstance(event, TimestampBlock):
                n_timestamps += event.n
            if size >= packet_bytes:
                with watch.during(""):
                    yield packet
                packet, size = [], 0
    watch.switch("")
    packet.append(ShardEnd(n_clips, n_windows, n_timestamps, watch.seconds, dict(passed_over)))
    yield packet


def _watched(recording: Recording, watch: Stopwatch) -> Recording:
    def opened(max_bytes: int) -> AbstractContextManager[BinaryIO]:
        return watch.entering(recording.open(max_bytes), "fetch")

    return recording._replace(open=opened)


def _poisonous(recording: Recording, clip: int) -> list[Event]:
    message = (
        f"{recording.ref.name}: the process that decodes it dies or runs out of memory, twice in a "
        "row; look at the file on a machine that may break"
    )
    return [ClipStart(clip, recording.ref), ClipFailed(clip, "decode", POISON, message)]

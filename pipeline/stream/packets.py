"""The decode side of a shard as one stream of events, in packets.

Packets are lists of a few megabytes, because a Ray object for every short clip would cost more than
decoding it.
"""

import dataclasses
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import numpy as np

from pipeline.audio import SAMPLE_RATE_HZ
from pipeline.clips import ClipRef
from pipeline.errors import BrokenStreamError, ClipError, PipelineError
from pipeline.readers.recording import Recording
from pipeline.samples import Samples
from pipeline.stopwatch import Stopwatch
from pipeline.stream.clip_decoder import ClipReader, OpenClip, open_clips
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


def clip_events(ref: ClipRef, open_clip: OpenClip, clip: int, rule: DecodeRule) -> Iterator[Event]:
    """Yield the events of one clip.

    Args:
        ref: The clip.
        open_clip: Opens a decoder on the clip's file.
        clip: Index of the clip in the shard; it is written on the events.
        rule: How to cut the clip.
    """
    yield ClipStart(clip, ref)
    try:
        yield from _cut_clip(ref, open_clip, clip, rule)
    except ClipError as error:
        yield _failure_event(clip, error)
    except (PipelineError, MemoryError):
        raise
    except Exception as error:
        yield _failure_event(clip, _decode_again(ref, open_clip, rule, error))


def _decode_again(
    ref: ClipRef, open_clip: OpenClip, rule: DecodeRule, first: Exception
) -> ClipError:
    """Decode a clip a second time after an unforeseen error, and return the error of the clip.

    Args:
        ref: The clip.
        open_clip: Opens a decoder on the clip's file.
        rule: How to cut the clip.
        first: Exception of the first attempt.

    Raises:
        BrokenStreamError: The second attempt finds nothing wrong, so the clip is not at fault.
    """
    try:
        for _ in _cut_clip(ref, open_clip, 0, rule):
            pass
    except ClipError as error:
        return error
    except (PipelineError, MemoryError):
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        reason = " ".join(str(error).split())
        return ClipError(
            "decode",
            INTERNAL,
            f"{ref.name}: {type(error).__name__}: {reason} ({Path(where.filename).name}:"
            f"{where.lineno}), in two tries; please report it, with the file if you can",
        )
    raise BrokenStreamError(
        f"{ref.name}: failed once ({type(first).__name__}: {first}) and not again"
    ) from first


def _failure_event(clip: int, error: ClipError) -> ClipFailed:
    return ClipFailed(clip, error.stage, error.error_class, error.message)


def _cut_clip(ref: ClipRef, open_clip: OpenClip, clip: int, rule: DecodeRule) -> Iterator[Event]:
    """Yield the windows of a clip, and its `ClipDone` last."""
    reader, cutter = ClipReader(ref, open_clip, rule.limits), _ClipCutter(rule, clip)
    for piece in reader.pieces():
        if not cutter.n_samples and reader.about_samples >= LONG_CLIP_S * SAMPLE_RATE_HZ:
            yield ClipLength(clip, reader.about_samples)
        yield from cutter.push(piece)
    n_samples = cutter.n_samples
    if missing := max(0, rule.min_samples - n_samples):
        if not rule.pad_short:
            raise _too_short_error(ref, n_samples, rule.min_samples)
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
            yield from map(_timestamp_block, self._timestamps.push(piece))

    def finish(self) -> Iterator[Event]:
        yield from self._windows.finish()
        if self._timestamps:
            yield from map(_timestamp_block, self._timestamps.finish())


def _timestamp_block(block: WindowBlock) -> TimestampBlock:
    return TimestampBlock(block.clip, block.first_index, len(block.offsets), block.pcm)


def _too_short_error(ref: ClipRef, n_samples: int, min_samples: int) -> ClipError:
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
    """Yield all events of a shard, in packets of about `packet_bytes` of samples.

    Args:
        recordings: Recordings of the shard, in order.
        rule: Rule by which clips are cut.
        packet_bytes: Size of a packet in bytes; 0 for one packet per event.
        poison: Indices of clips that fail without being decoded.
        passed_over: Counts by ending of the members that the recordings skip; read at the end.
    """
    watch = Stopwatch()
    watch.switch("decode")
    refs = (
        each
        for recording in watch.measure_each(recordings, "fetch")
        for each in open_clips(_timed(recording, watch))
    )
    clips = (
        _poisonous(ref, clip) if clip in poison else clip_events(ref, open_clip, clip, rule)
        for clip, (ref, open_clip) in enumerate(refs)
    )
    yield from pack_events(clips, packet_bytes, watch, passed_over)


def pack_events(
    clips: Iterable[Iterable[Event]],
    packet_bytes: int,
    watch: Stopwatch,
    passed_over: Mapping[str, int] = NOTHING,
) -> Iterator[list[Event]]:
    """Yield events in packets of about `packet_bytes` of samples, with a `ShardEnd` last.

    Args:
        clips: The events of each clip of a shard.
        packet_bytes: Size of a packet in bytes; 0 for one packet per event.
        watch: Stopwatch of the decoding; it stands still while the consumer has a packet.
        passed_over: Counts by ending of the members that were skipped; read at the end.
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
                with watch.measure(""):
                    yield packet
                packet, size = [], 0
    watch.switch("")
    packet.append(ShardEnd(n_clips, n_windows, n_timestamps, watch.seconds, dict(passed_over)))
    yield packet


def _timed(recording: Recording, watch: Stopwatch) -> Recording:
    """Return a recording whose opening is timed as fetching."""

    def open_file(max_bytes: int) -> AbstractContextManager[BinaryIO]:
        return watch.measure_enter(recording.open(max_bytes), "fetch")

    return dataclasses.replace(recording, open=open_file)


def _poisonous(ref: ClipRef, clip: int) -> list[Event]:
    """Return the events of a clip that kills its decoder; the clip is not decoded."""
    message = (
        f"{ref.name}: the process that decodes it dies or runs out of memory, twice in a row; look "
        "at the file on a machine that may break"
    )
    return [ClipStart(clip, ref), ClipFailed(clip, "decode", POISON, message)]

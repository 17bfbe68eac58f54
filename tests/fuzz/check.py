"""Checks of the fuzzer: the invariants that hold for every file, damaged or not.

Listing, planning and decoding a file gives rows or passtream's own errors. No other file is written
and nothing is sent over the network. The plan agrees with decoding, or marks its result as inexact.
"""

import dataclasses
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pipeline.clips import ClipRef
from pipeline.decode.mp3_length import estimate_mp3_length
from pipeline.errors import CannotDecodeError, UsageError
from pipeline.io.http.host_rules import HostRules
from pipeline.io.storage import Storage
from pipeline.planning.clip_estimate import ClipEstimate, estimate_clips
from pipeline.readers.lazy_reader import lazy_recording, lazy_recordings
from pipeline.readers.shard_reader import clip_recordings, container_recordings
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import Listing, SourceOptions
from pipeline.stream.events import ClipDone, ClipFailed, ClipStart, ShardEnd
from pipeline.stream.packets import INTERNAL, shard_packets
from pipeline.table.spec import Route, TableSpec

SPEC = TableSpec(
    routes=(Route("statistics", 10.0, "random:0", "0" * 64, 320),),
    min_samples=6_000,
    embedding_dim=4,
    n_classes=3,
    window_s=10.0,
    hop_s=5.0,
    max_clip_s=3600.0,
)
MEMORY_BYTES = 512 << 20
"""Memory limit of a decoder call, in bytes."""
_RULE = dataclasses.replace(
    SPEC.decode_rule,
    limits=dataclasses.replace(SPEC.decode_rule.limits, decoder_memory_bytes=MEMORY_BYTES),
)
_STORAGE = Storage((), rules=HostRules(("nowhere.invalid",)))
"""Storage without permitted hosts, so that a damaged list cannot cause requests."""
_MP3_FRAME_SAMPLES = 2304
"""Length of a 16 kHz MP3 frame, in samples at 32 kHz. Some tags count their own frame, so a length
that is one frame shorter than the count is not reported."""
_ONLY_DECODING_SHOWS = {
    "changed",
    "damaged_container",
    "empty",
    "implausible_length",
    "non_finite",
    "sample_rate_too_low",
    "too_long",
    "too_much_memory",
    "too_short",
    "truncated",
    "undecodable",
}
"""Error classes that may show only in decoding, and not in the header."""


class FaultError(AssertionError):
    """A violated invariant."""


class Watch:
    """A recorder of files opened for writing and of network use, through Python's audit events.

    Args:
        folder: Folder of the damaged files, where writing is permitted.
    """

    def __init__(self, folder: Path) -> None:
        self.faults: list[str] = []
        self._roots = tuple(
            os.path.realpath(root) for root in (folder, tempfile.gettempdir(), "/dev/null")
        )
        sys.addaudithook(self._record)

    def _record(self, event: str, args: tuple[object, ...]) -> None:
        if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo"):
            self.faults.append(f"{event} {args[1:]}")
        elif event in ("subprocess.Popen", "os.system", "os.exec"):
            self.faults.append(f"{event} {args[:1]}")
        elif event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR):
            path = os.path.realpath(str(args[0]))
            if isinstance(args[0], str) and not path.startswith(self._roots):
                self.faults.append(f"wrote {path}")


def check_file(path: Path, watch: Watch) -> str:
    """List, decode and plan a file, and check the invariants.

    Args:
        path: The file.
        watch: Recorder of the process.

    Returns:
        The most frequent outcome of its clips: `rows` or an error class; `refused` if the file was
        refused as a source, `nothing` if it has no clips.

    Raises:
        FaultError: An invariant is violated.
    """
    watch.faults.clear()
    try:
        listing = list_sources((str(path),), SourceOptions(storage=_STORAGE))
    except UsageError as error:
        if "\n" in str(error):
            raise FaultError(f"a message of several lines: {error}") from error
        return "refused"
    ends = list(_decode(listing))
    planned = list(_plan(listing))
    if watch.faults:
        raise FaultError("; ".join(watch.faults))
    if bad := [end for end in ends if isinstance(end, ClipFailed) and end.error_class == INTERNAL]:
        raise FaultError(bad[0].message)
    if any(plan.error == INTERNAL for plan in planned):
        raise FaultError("the plan met an unforeseen error")
    _compare(planned, ends, _MP3_FRAME_SAMPLES if _is_mp3(path) else 0)
    classes = Counter(end.error_class if isinstance(end, ClipFailed) else "rows" for end in ends)
    return classes.most_common(1)[0][0] if classes else "nothing"


def _decode(listing: Listing) -> Iterator[ClipDone | ClipFailed]:
    """Decode a listing as a run does; yield the last event of each clip."""
    streams = [clip_recordings(listing.clips, _STORAGE)] if listing.clips else []
    streams += [container_recordings(container, _STORAGE) for container in listing.containers]
    for recordings in streams:
        n_started = n_ended = 0
        for packet in shard_packets(recordings, _RULE):
            for event in packet:
                n_started += isinstance(event, ClipStart)
                if isinstance(event, ClipDone | ClipFailed):
                    n_ended += 1
                    yield event
                if isinstance(event, ShardEnd) and event.n_clips != n_started:
                    raise FaultError(f"{event.n_clips} clips of {n_started}")
        if n_started != n_ended:
            raise FaultError(f"{n_started} clips were started and {n_ended} ended")


def _plan(listing: Listing) -> Iterator[ClipEstimate]:
    for ref in listing.clips:
        yield from estimate_clips(lazy_recording((ref,), _STORAGE), SPEC, MEMORY_BYTES)
    for container in listing.containers:
        for recording in lazy_recordings(container, _STORAGE):
            ref: ClipRef = recording.clips[0]
            yield from estimate_clips(recording, SPEC, MEMORY_BYTES)


def _is_mp3(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            return estimate_mp3_length(file) is not None
        except CannotDecodeError:
            return True


def _compare(
    planned: list[ClipEstimate], ends: list[ClipDone | ClipFailed], tolerance: int
) -> None:
    """Raise FaultError if the plan and decoding differ in what a header can show.

    Args:
        planned: Estimate of each clip by the plan.
        ends: Last event of each clip in decoding, in the same order.
        tolerance: Permitted difference of exact lengths, in samples at 32 kHz.
    """
    if len(planned) != len(ends):
        if any(
            isinstance(end, ClipFailed) and end.error_class in _CONTAINER_ERRORS for end in ends
        ):
            return
        raise FaultError(f"the plan has {len(planned)} clips, decoding {len(ends)}")
    for plan, end in zip(planned, ends, strict=True):
        if isinstance(end, ClipDone):
            if plan.error and plan.error != "unknown_length" and plan.is_exact:
                raise FaultError(f"the plan predicts {plan.error}, decoding gives rows")
            is_known = plan.is_exact and not plan.error and not end.decoded_short
            if is_known and abs(plan.n_samples - end.n_samples) > tolerance:
                raise FaultError(f"the plan has {plan.n_samples} samples, not {end.n_samples}")
        elif (
            plan.error not in (end.error_class, "unknown_length")
            and end.error_class not in _ONLY_DECODING_SHOWS
        ):
            raise FaultError(
                f"the plan predicts {plan.error or 'rows'}, decoding gives {end.error_class}"
            )


_CONTAINER_ERRORS = {"damaged_container", "changed"}

"""What must hold for any file at all: the checks of the fuzzer, one file at a time.

Opening, listing, planning and decoding a file ends in rows or in errors of passtream's own; nothing
else is opened, written or sent; and the plan says what decoding finds, or that it is not sure.
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
"""Memory that one step of a decoder may take here."""
_RULE = dataclasses.replace(
    SPEC.decode_rule,
    limits=dataclasses.replace(SPEC.decode_rule.limits, decoder_memory_bytes=MEMORY_BYTES),
)
_STORAGE = Storage((), rules=HostRules(("nowhere.invalid",)))
"""No host may be named: a damaged list must send nothing anywhere."""
_MPEG_FRAME = 2304
"""Samples at 32 kHz of an MP3's frame at 16 kHz: some tags count their own frame, so that one frame
less than the count is not told."""
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
"""Classes of errors that a header may give no sign of."""


class FaultError(AssertionError):
    """Something that must hold does not."""


class Watch:
    """Records what this process opens for writing and sends, through Python's audit events.

    Args:
        folder: Where the damaged files lie; files may be read there.
    """

    def __init__(self, folder: Path) -> None:
        self.faults: list[str] = []
        self._roots = tuple(
            os.path.realpath(root) for root in (folder, tempfile.gettempdir(), "/dev/null")
        )
        sys.addaudithook(self._see)

    def _see(self, event: str, args: tuple[object, ...]) -> None:
        if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo"):
            self.faults.append(f"{event} {args[1:]}")
        elif event in ("subprocess.Popen", "os.system", "os.exec"):
            self.faults.append(f"{event} {args[:1]}")
        elif event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR):
            path = os.path.realpath(str(args[0]))
            if isinstance(args[0], str) and not path.startswith(self._roots):
                self.faults.append(f"wrote {path}")


def check_file(path: Path, watch: Watch) -> str:
    """Take one file from its listing to its windows, and from its headers to its plan.

    Args:
        path: The file.
        watch: What the process did meanwhile.

    Returns:
        What became of it: `rows`, an error class, or `refused`.

    Raises:
        FaultError: What must hold does not.
    """
    watch.faults.clear()
    try:
        listing = list_sources((str(path),), SourceOptions(storage=_STORAGE))
    except UsageError as error:
        if "\n" in str(error):
            raise FaultError(f"a message of several lines: {error}") from error
        return "refused"
    ends = list(_embedded(listing))
    planned = list(_planned(listing))
    if watch.faults:
        raise FaultError("; ".join(watch.faults))
    if bad := [end for end in ends if isinstance(end, ClipFailed) and end.error_class == INTERNAL]:
        raise FaultError(bad[0].message)
    if any(plan.error == INTERNAL for plan in planned):
        raise FaultError("the plan met an error that nobody foresaw")
    _compare(planned, ends, _MPEG_FRAME if _is_mpeg(path) else 0)
    classes = Counter(end.error_class if isinstance(end, ClipFailed) else "rows" for end in ends)
    return classes.most_common(1)[0][0] if classes else "nothing"


def _embedded(listing: Listing) -> Iterator[ClipDone | ClipFailed]:
    """Yield the end of each clip, as the decode side of a run has it."""
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


def _planned(listing: Listing) -> Iterator[ClipEstimate]:
    for ref in listing.clips:
        yield from estimate_clips(lazy_recording((ref,), _STORAGE), SPEC, MEMORY_BYTES)
    for container in listing.containers:
        for recording in lazy_recordings(container, _STORAGE):
            ref: ClipRef = recording.clips[0]
            yield from estimate_clips(recording, SPEC, MEMORY_BYTES)


def _is_mpeg(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            return estimate_mp3_length(file) is not None
        except CannotDecodeError:
            return True


def _compare(
    planned: list[ClipEstimate], ends: list[ClipDone | ClipFailed], tolerance: int
) -> None:
    """See that the plan says what decoding found, or that only decoding can show it.

    Args:
        planned: What the plan says of each clip.
        ends: What decoding found, in the same order.
        tolerance: Samples at 32 kHz by which an exact length may differ.
    """
    if len(planned) != len(ends):
        if any(isinstance(end, ClipFailed) and end.error_class in _OF_CONTAINERS for end in ends):
            return
        raise FaultError(f"the plan has {len(planned)} clips, decoding {len(ends)}")
    for plan, end in zip(planned, ends, strict=True):
        if isinstance(end, ClipDone):
            if plan.error and plan.error != "unknown_length" and plan.is_exact:
                raise FaultError(f"the plan says {plan.error}, decoding gives rows")
            is_known = plan.is_exact and not plan.error and not end.decoded_short
            if is_known and abs(plan.n_samples - end.n_samples) > tolerance:
                raise FaultError(f"the plan has {plan.n_samples} samples, not {end.n_samples}")
        elif (
            plan.error not in (end.error_class, "unknown_length")
            and end.error_class not in _ONLY_DECODING_SHOWS
        ):
            raise FaultError(f"the plan says {plan.error or 'rows'}, decoding {end.error_class}")


_OF_CONTAINERS = {"damaged_container", "changed"}

"""An estimate of a clip from its header: the rules of decoding and cutting, without samples.

Lengths, limits and errors are those that `stream.clip_decoder`, `stream.packets` and
`stream.windows` find. Damage that only decoding shows (noise in the middle, NaN) is not seen here.
"""

from dataclasses import dataclass

from pipeline.clips import ClipRef
from pipeline.decode.frame_range import FrameRange
from pipeline.decode.guards.plausible import find_implausible
from pipeline.decode.headers.declared_length import is_truncated
from pipeline.decode.probe import ProbeResult, probe_audio
from pipeline.decode.resample import resampled_length
from pipeline.errors import CannotDecodeError, ClipError, PipelineError
from pipeline.limits import DEFAULT_DECODER_MEMORY_BYTES
from pipeline.readers.recording import Recording
from pipeline.stream.packets import INTERNAL
from pipeline.table.spec import TableSpec

UNKNOWN_LENGTH = "unknown_length"
"""Class of clips that may well be embedded, but whose header gives no length at all."""


@dataclass(frozen=True, slots=True)
class ClipEstimate:
    """The estimate of a clip.

    Attributes:
        error: Class of the error that the clip ends in; empty where it is embedded.
        n_bytes: Bytes of the file that the clip is read from; 0 where that is not known.
        sample_rate_hz: Sample rate of the file; 0 where the header cannot be read.
        n_samples: Number of samples at 32 kHz.
        is_exact: Whether decoding will find exactly `n_samples`.
        n_windows: Number of windows that the clip is cut into.
        window_samples: Number of samples of each window.
        route: Index of the windows' route in the spec's routes.
        n_timestamps: Number of timestamps of the clip.
        decoded_short: Whether the clip will be marked as `decoded_short`.
    """

    error: str = ""
    n_bytes: int = 0
    sample_rate_hz: int = 0
    n_samples: int = 0
    is_exact: bool = True
    n_windows: int = 0
    window_samples: int = 0
    route: int = 0
    n_timestamps: int = 0
    decoded_short: bool = False


def estimate_clips(
    recording: Recording, spec: TableSpec, memory_bytes: int = DEFAULT_DECODER_MEMORY_BYTES
) -> list[ClipEstimate]:
    """Estimate the clips of one recording from its header.

    Args:
        recording: The file and its clips.
        spec: Spec of the table.
        memory_bytes: Memory that one step of a decoder may take, in bytes.

    Raises:
        StoreError: The store of the file is unavailable.
    """
    n_bytes = 0
    try:
        with recording.open(spec.max_clip_bytes) as file:
            n_bytes = file.seek(0, 2)
            header = probe_audio(file, memory_bytes)
    except ClipError as error:
        return [ClipEstimate(error.error_class, n_bytes)] * len(recording.clips)
    except CannotDecodeError as error:
        return [ClipEstimate(error.error_class, n_bytes)] * len(recording.clips)
    except (PipelineError, MemoryError):
        raise
    except Exception:
        # As in `stream.packets`: an unforeseen exception is an error of the clip.
        return [ClipEstimate(INTERNAL, n_bytes)] * len(recording.clips)
    return [estimate_clip(ref, header, n_bytes, spec) for ref in recording.clips]


def estimate_clip(ref: ClipRef, header: ProbeResult, n_bytes: int, spec: TableSpec) -> ClipEstimate:
    """Estimate a clip.

    Args:
        ref: The clip.
        header: Header of the file that the clip is, or is cut from.
        n_bytes: Bytes of that file.
        spec: Spec of the table.
    """
    rate_hz = header.sample_rate_hz
    if header.n_frames is None:
        return ClipEstimate(UNKNOWN_LENGTH, n_bytes, rate_hz)
    cut = FrameRange(ref.span, rate_hz)
    n_frames = cut.frames_within(header.n_frames)
    if error := _error(header, cut, n_frames, n_bytes, spec):
        return ClipEstimate(error, n_bytes, rate_hz, is_exact=header.is_exact)
    try:
        n_samples = resampled_length(n_frames, rate_hz)
    except (ValueError, RuntimeError):
        return ClipEstimate("undecodable", n_bytes, rate_hz)
    if not n_samples:
        return ClipEstimate("empty", n_bytes, rate_hz)
    if n_samples < spec.shortest_clip and not spec.pad_short:
        return ClipEstimate("too_short", n_bytes, rate_hz, is_exact=header.is_exact)
    rule, padded = spec.window_rule, max(n_samples, spec.shortest_clip)
    return ClipEstimate(
        n_bytes=n_bytes,
        sample_rate_hz=rate_hz,
        n_samples=n_samples,
        is_exact=header.is_exact,
        n_windows=rule.count(padded),
        window_samples=min(padded, rule.window),
        route=spec.route_index(n_samples),
        n_timestamps=spec.n_timestamps(n_samples),
        decoded_short=header.has_gaps or _is_short(header, cut),
    )


def _is_short(header: ProbeResult, cut: FrameRange) -> bool:
    """Return whether audio that the file declares is missing from the clip."""
    in_all, promise = header.n_frames or 0, header.promise
    if cut.is_short(in_all):
        return True
    if promise is None or cut.end <= in_all:
        return False
    if promise.is_cut or promise.declared is None:
        return promise.is_cut
    present = in_all if promise.present is None else promise.present
    return present < promise.declared - promise.tolerance


def _error(
    header: ProbeResult, cut: FrameRange, n_frames: int, n_bytes: int, spec: TableSpec
) -> str:
    """Return the class of the error that a clip of `n_frames` ends in; empty for none."""
    in_all = header.n_frames or 0
    promise = header.promise
    declared = promise.declared if promise and promise.unit == "frames" else None
    if implausible := find_implausible(header.sample_rate_hz, max(in_all, declared or 0), n_bytes):
        return implausible[0]
    longest = max(n_frames, cut.frames_within(declared or 0))
    if longest / max(1, header.sample_rate_hz) > spec.max_clip_s:
        return "too_long"
    if cut.end > in_all and promise and promise.declared is not None:
        present = in_all if promise.present is None else promise.present
        if is_truncated(promise.declared - promise.tolerance, present, spec.short_tolerance):
            return "unread_audio" if promise.unread else "truncated"
    if not n_frames:
        return "empty_span" if in_all > 0 else "empty"
    is_past_end = cut.n_frames and is_truncated(cut.n_frames, n_frames, spec.short_tolerance)
    return "span_past_end" if is_past_end else ""

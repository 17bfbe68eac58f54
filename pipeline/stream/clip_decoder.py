"""One recording to mono float32 PCM at 32 kHz, in pieces of bounded size.

Whichever decoder runs hands its channels to one down-mix, their mean, so an embedding does not
depend on it. The rate is the file's; soxr resamples the stream. Damage that decoders pass over in
silence (cut-off files, NaN) is an error here, and so is a clip beyond the limits of the table,
before more of it is decoded than they allow.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

import numpy as np

from pipeline.audio import SAMPLE_RATE_HZ, Samples
from pipeline.clips import ClipRef
from pipeline.decode.audio_stream import PIECE_FRAMES, AudioStream
from pipeline.decode.frame_range import FrameRange
from pipeline.decode.guards.plausible import find_implausible
from pipeline.decode.headers.declared_length import DeclaredLength, is_truncated
from pipeline.decode.open_audio import DECODER_ERRORS, describe_error
from pipeline.decode.quality import Quality, QualityMeter
from pipeline.decode.resample import resample
from pipeline.decode.shared_decoder import OpenStream, SharedDecoder, open_stream
from pipeline.errors import CannotDecodeError, ClipError
from pipeline.limits import DEFAULT_LIMITS, Limits
from pipeline.readers.recording import Recording

OpenClip = Callable[[Limits], AbstractContextManager[OpenStream]]
"""Opens a decoder for one clip, within limits."""


def open_clips(recording: Recording) -> Iterator[tuple[ClipRef, OpenClip]]:
    """Yield the clips of a recording, each with the function that opens its decoder.

    Several clips of one file share a decoder, so each must be decoded before the next is asked for.

    Args:
        recording: The file and its clips.
    """
    if len(recording.clips) == 1:
        yield recording.clips[0], partial(open_stream, recording.open)
        return
    shared = SharedDecoder(recording.open, recording.check_unchanged)
    with contextlib.closing(shared):
        for clip in recording.clips:
            yield clip, shared.open_stream


def clip_reader(recording: Recording, limits: Limits = DEFAULT_LIMITS) -> "ClipReader":
    """Return the reader of the only clip of a recording.

    Args:
        recording: A file with a single clip.
        limits: Limits on what the clip may cost, and on how much of it may be missing.
    """
    ((ref, open_clip),) = open_clips(recording)
    return ClipReader(ref, open_clip, limits)


class ClipReader:
    """Decodes one clip; iterate over `pieces` once, then read the attributes.

    Args:
        ref: The clip.
        open_stream: Opens a decoder on the clip's file, as `open_clips` gives it.
        limits: Limits on what the clip may cost, and on how much of it may be missing.

    Attributes:
        sample_rate_hz: the file's own rate.
        channels: the file's own channel count.
        decoded_short: a little less audio was there than the file promised, or its end is missing
            and nobody can say how much that is, or something in it is not audio and was left out.
        about_samples: Length of the clip at 32 kHz by its header, known from the first piece on; 0
            where the header has none. Only for showing progress.
    """

    def __init__(
        self, ref: ClipRef, open_stream: OpenClip, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self.ref = ref
        self._open_stream = open_stream
        self.sample_rate_hz = 0
        self.channels = 0
        self.decoded_short = False
        self.about_samples = 0
        self._limits = limits
        self._meter = QualityMeter()

    @property
    def quality(self) -> Quality:
        """Loudness and clipping of what has been decoded."""
        return self._meter.result()

    def pieces(self) -> Iterator[Samples]:
        """Mono float32 samples at 32 kHz, in order.

        Raises:
            ClipError: the clip cannot be read or decoded, is damaged, or is beyond the limits.
        """
        try:
            with self._open_stream(self._limits) as (sound, promise, n_bytes):
                self.sample_rate_hz, self.channels = sound.sample_rate_hz, sound.channels
                self._check_plausible(sound.n_frames, n_bytes)
                yield from self._at_32_khz(self._mono(sound, promise, n_bytes))
        except CannotDecodeError as error:
            raise self._error(error.error_class, str(error)) from error

    def _mono(
        self, sound: AudioStream, promise: DeclaredLength | None, n_bytes: int
    ) -> Iterator[Samples]:
        cut = FrameRange(self.ref.span, sound.sample_rate_hz)
        self._check_duration(cut.frames_within(sound.n_frames or 0), "its header says")
        about_frames = cut.frames_within(sound.n_frames or sound.estimated_frames or 0)
        self.about_samples = about_frames * SAMPLE_RATE_HZ // max(1, sound.sample_rate_hz)
        n_frames = 0
        for frames in self._frames(sound, cut, promise):
            self._check_plausible(cut.position, n_bytes)
            mono = down_mix(frames)
            if not np.isfinite(mono).all():
                first = n_frames + int(np.argmin(np.isfinite(mono)))
                raise self._error(
                    "non_finite",
                    f"sample {first} is NaN or infinite; repair or leave out the file",
                )
            self._meter.add(frames, mono)
            n_frames += len(mono)
            self._check_duration(n_frames, "decoded so far, and not at its end")
            yield mono
        if not n_frames:
            raise self._error("empty", "holds no samples")

    def _frames(
        self, sound: AudioStream, cut: FrameRange, promise: DeclaredLength | None
    ) -> Iterator[Samples]:
        try:
            yield from cut.pieces(sound)
        except DECODER_ERRORS as error:
            self._check_length(sound, promise, cut.position)
            raise self._error("undecodable", describe_error(error)) from error
        if sound.losses:
            self.decoded_short = True
        if cut.position >= cut.end:
            return  # whether the recording is whole does not matter to the clip
        if sound.is_cut:
            self.decoded_short = True
        self._check_length(sound, promise, cut.position)
        if 0 < cut.position <= cut.first:
            raise self._error(
                "empty_span",
                f"ends at {cut.position / sound.sample_rate_hz:.3f} s, before the clip's start at "
                f"{cut.first / sound.sample_rate_hz:.3f} s",
            )
        self._check_span(sound, cut)

    def _check_span(self, sound: AudioStream, cut: FrameRange) -> None:
        """Compare the part that the manifest names with what the recording has of it."""
        wanted, present = cut.n_frames, max(0, cut.position - cut.first)
        if wanted is None or not present:
            return
        if is_truncated(wanted, present, self._limits.short_tolerance):
            raise self._error(
                "span_past_end",
                f"ends at {cut.position / sound.sample_rate_hz:.3f} s, before the clip's end at "
                f"{cut.end / sound.sample_rate_hz:.3f} s; correct the manifest, or let "
                "--short-tolerance pass it",
            )
        if cut.is_short(cut.position):
            self.decoded_short = True

    def _check_plausible(self, n_frames: int | None, n_bytes: int) -> None:
        if found := find_implausible(self.sample_rate_hz, n_frames, n_bytes):
            raise self._error(*found)

    def _check_duration(self, n_frames: int, known: str) -> None:
        duration_s = n_frames / max(1, self.sample_rate_hz)
        if duration_s > self._limits.max_clip_s:
            raise self._error(
                "too_long",
                f"{duration_s:.1f} s ({known}), more than the {self._limits.max_clip_s:g} s that a "
                "clip may have; cut it, or raise --max-clip-s",
            )

    def _check_length(
        self, sound: AudioStream, promise: DeclaredLength | None, n_frames: int
    ) -> None:
        """Compare what was decoded with what the file promised, where it says so exactly."""
        if sound.n_frames is not None:
            self._check_missing(sound.n_frames - sound.tolerance_frames, n_frames, "frames")
        if promise is None:
            return
        if promise.is_cut:
            self.decoded_short = True
        if promise.declared is not None:
            present = n_frames if promise.present is None else promise.present
            declared = promise.declared - promise.tolerance
            self._check_missing(declared, present, promise.unit, promise.unread)

    def _check_missing(self, promised: int, present: int, unit: str, unread: str = "") -> None:
        if present >= promised:
            return
        is_beyond = is_truncated(promised, present, self._limits.short_tolerance)
        if is_beyond and unread:
            raise self._error(
                "unread_audio",
                f"the file holds {promised} {unit}, of which {present} can be read as one "
                f"recording; there is {unread}. Split the file, or let --short-tolerance pass it",
            )
        if is_beyond:
            raise self._error(
                "truncated",
                f"the header promises {promised} {unit}, the file holds {present}; fetch the file "
                "again, or let --short-tolerance pass it",
            )
        self.decoded_short = True

    def _at_32_khz(self, mono: Iterator[Samples]) -> Iterator[Samples]:
        is_empty = True
        try:
            for piece in resample(mono, self.sample_rate_hz, PIECE_FRAMES):
                is_empty = False
                yield piece
        except (ValueError, RuntimeError) as error:
            raise self._error(
                "undecodable", f"cannot be resampled from {self.sample_rate_hz} Hz: {error}"
            ) from error
        if is_empty:
            raise self._error(
                "empty",
                f"too few samples at {self.sample_rate_hz} Hz to make one at {SAMPLE_RATE_HZ} Hz",
            )

    def _error(self, error_class: str, message: str) -> ClipError:
        return ClipError("decode", error_class, f"{self.ref.name}: {message}")


def down_mix(frames: Samples) -> Samples:
    """Mean over channels, float32 (frames, channels) to (frames,).

    Channel by channel, which is an order of magnitude faster than a reduction over the short axis.
    """
    n_channels = frames.shape[1]
    if n_channels == 1:
        return np.ascontiguousarray(frames[:, 0])
    # Infinite values, and sums of huge ones, are found in the mean; numpy need not warn.
    with np.errstate(invalid="ignore", over="ignore"):
        mono: Samples = frames[:, 0] + frames[:, 1]
        for channel in range(2, n_channels):
            mono += frames[:, channel]
    mono /= np.float32(n_channels)
    return mono

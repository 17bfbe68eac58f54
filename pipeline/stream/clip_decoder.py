"""Clips decoded to mono float32 PCM at 32 kHz, in pieces of bounded size.

Every decoder's channels go through one down-mix, their mean, so an embedding does not depend on the
decoder. The rate is the file's; soxr resamples the stream. Damage that decoders ignore silently
(cut-off files, NaN) is an error here. So is a clip beyond the limits of the table, before more of
it is decoded than they allow.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

import numpy as np

from pipeline.audio import SAMPLE_RATE_HZ
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
from pipeline.samples import Samples

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
    """A reader of one clip; iterate over `pieces` once, then read the attributes.

    Args:
        ref: The clip.
        open_stream: Opens a decoder on the clip's file, as `open_clips` gives it.
        limits: Limits on what the clip may cost, and on how much of it may be missing.

    Attributes:
        sample_rate_hz: Sample rate of the file.
        channels: Number of channels of the file.
        decoded_short: Whether the file has a little less audio than it declares, lacks an unknown
            part of its end, or has something in it that is not audio and was left out.
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
        """Loudness and clipping of the samples decoded so far."""
        return self._meter.result()

    def pieces(self) -> Iterator[Samples]:
        """Yield mono float32 samples at 32 kHz, in order.

        Raises:
            ClipError: The clip cannot be read or decoded, is damaged, or is beyond the limits.
        """
        try:
            with self._open_stream(self._limits) as (stream, declared, n_bytes):
                self.sample_rate_hz, self.channels = stream.sample_rate_hz, stream.channels
                self._check_plausible(stream.n_frames, n_bytes)
                yield from self._at_32_khz(self._mono(stream, declared, n_bytes))
        except CannotDecodeError as error:
            raise self._error(error.error_class, str(error)) from error

    def _mono(
        self, stream: AudioStream, declared: DeclaredLength | None, n_bytes: int
    ) -> Iterator[Samples]:
        cut = FrameRange(self.ref.span, stream.sample_rate_hz)
        self._check_duration(cut.frames_within(stream.n_frames or 0), "its header says")
        about_frames = cut.frames_within(stream.n_frames or stream.estimated_frames or 0)
        self.about_samples = about_frames * SAMPLE_RATE_HZ // max(1, stream.sample_rate_hz)
        n_frames = 0
        for frames in self._frames(stream, cut, declared):
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
        self, stream: AudioStream, cut: FrameRange, declared: DeclaredLength | None
    ) -> Iterator[Samples]:
        try:
            yield from cut.pieces(stream)
        except DECODER_ERRORS as error:
            self._check_length(stream, declared, cut.position)
            raise self._error("undecodable", describe_error(error)) from error
        if stream.losses:
            self.decoded_short = True
        if cut.position >= cut.end:
            return  # the clip does not depend on whether the recording is whole
        if stream.is_cut:
            self.decoded_short = True
        self._check_length(stream, declared, cut.position)
        if 0 < cut.position <= cut.first:
            raise self._error(
                "empty_span",
                f"ends at {cut.position / stream.sample_rate_hz:.3f} s, before the clip's start at "
                f"{cut.first / stream.sample_rate_hz:.3f} s",
            )
        self._check_span(stream, cut)

    def _check_span(self, stream: AudioStream, cut: FrameRange) -> None:
        """Compare the span that the manifest names with the frames that the recording has of it."""
        wanted, present = cut.n_frames, max(0, cut.position - cut.first)
        if wanted is None or not present:
            return
        if is_truncated(wanted, present, self._limits.short_tolerance):
            raise self._error(
                "span_past_end",
                f"ends at {cut.position / stream.sample_rate_hz:.3f} s, before the clip's end at "
                f"{cut.end / stream.sample_rate_hz:.3f} s; correct the manifest, or let "
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
        self, stream: AudioStream, declared: DeclaredLength | None, n_frames: int
    ) -> None:
        """Compare the decoded frames with the declared length, where that is exact."""
        if stream.n_frames is not None:
            self._check_missing(stream.n_frames - stream.tolerance_frames, n_frames, "frames")
        if declared is None:
            return
        if declared.is_cut:
            self.decoded_short = True
        if declared.declared is not None:
            present = n_frames if declared.present is None else declared.present
            least = declared.declared - declared.tolerance
            self._check_missing(least, present, declared.unit, declared.unread)

    def _check_missing(self, declared: int, present: int, unit: str, unread: str = "") -> None:
        if present >= declared:
            return
        is_beyond = is_truncated(declared, present, self._limits.short_tolerance)
        if is_beyond and unread:
            raise self._error(
                "unread_audio",
                f"the file holds {declared} {unit}, of which {present} can be read as one "
                f"recording; there is {unread}. Split the file, or let --short-tolerance pass it",
            )
        if is_beyond:
            raise self._error(
                "truncated",
                f"the header promises {declared} {unit}, the file holds {present}; fetch the file "
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
    """Average the channels, float32 (frames, channels) to (frames,).

    Channels are added one by one, which is ten times as fast as a reduction over the short axis.
    """
    n_channels = frames.shape[1]
    if n_channels == 1:
        return np.ascontiguousarray(frames[:, 0])
    # Infinite values, and sums of huge ones, are found in the mean, so numpy must not warn.
    with np.errstate(invalid="ignore", over="ignore"):
        mono: Samples = frames[:, 0] + frames[:, 1]
        for channel in range(2, n_channels):
            mono += frames[:, channel]
    mono /= np.float32(n_channels)
    return mono

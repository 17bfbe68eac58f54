"""One recording to mono float32 PCM at 32 kHz, in pieces of bounded size.

libsndfile goes first; FFmpeg (through PyAV) takes what it does not know. Both hand their channels
to one down-mix, the mean of the channels, so an embedding does not depend on which of them ran.
The rate is the header's; soxr resamples the stream. Damage that decoders pass over in silence
(cut-off files, NaN) is an error here.
"""

import itertools
import os
from collections.abc import Iterator
from typing import BinaryIO

import av
import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from pipeline.chunks import promised_and_present
from pipeline.clips import SAMPLE_RATE_HZ
from pipeline.errors import ClipError
from pipeline.recordings import Recording

Samples = npt.NDArray[np.float32]
PIECE_FRAMES = 1 << 17
SHORT_TOLERANCE = 0.01
"""Share of the audio that may be missing at the end before the clip counts as damaged."""

_DECODER_ERRORS = (
    soundfile.SoundFileError,
    av.FFmpegError,
    ValueError,
    RuntimeError,
    TypeError,
    EOFError,
    MemoryError,
)
_UNKNOWN_LENGTH_FRAMES = 1 << 60


class ClipReader:
    """Decodes one clip; iterate over `pieces` once, then read the attributes.

    Args:
        recording: the clip.

    Attributes:
        sample_rate_hz: the file's own rate.
        channels: the file's own channel count.
        decoded_short: a little less audio was there than the header promised.
    """

    def __init__(self, recording: Recording) -> None:
        self.ref = recording.ref
        self._open = recording.open
        self.sample_rate_hz = 0
        self.channels = 0
        self.decoded_short = False

    def pieces(self) -> Iterator[Samples]:
        """Mono float32 samples at 32 kHz, in order.

        Raises:
            ClipError: the clip cannot be read or decoded, or is damaged.
        """
        with self._open() as file:
            yield from self._resampled(self._mono(file))

    def _mono(self, file: BinaryIO) -> Iterator[Samples]:
        n_frames = 0
        for frames in self._frames(file):
            mono = down_mix(frames)
            if not np.isfinite(mono).all():
                first = n_frames + int(np.argmin(np.isfinite(mono)))
                raise ClipError(
                    "decode",
                    "non_finite",
                    f"{self.ref.uri}: sample {first} is NaN or infinite; repair or leave out "
                    "the file",
                )
            n_frames += len(mono)
            yield mono
        if not n_frames:
            raise ClipError("decode", "empty", f"{self.ref.uri}: holds no samples")

    def _frames(self, file: BinaryIO) -> Iterator[Samples]:
        """Float32 (frames, channels) pieces, by the first decoder that knows the format."""
        try:
            sound = _open_soundfile(file)
        except _DECODER_ERRORS as error:
            yield from self._frames_by_ffmpeg(file, reason=_reason(error))
            return
        with sound:
            self.sample_rate_hz, self.channels = sound.samplerate, sound.channels
            n_frames = 0
            try:
                while len(frames := sound.read(PIECE_FRAMES, dtype="float32", always_2d=True)):
                    n_frames += len(frames)
                    yield frames
            except _DECODER_ERRORS as error:
                self._check_length(file, sound, n_frames)
                raise self._undecodable(_reason(error)) from error
            self._check_length(file, sound, n_frames)

    def _frames_by_ffmpeg(self, file: BinaryIO, reason: str) -> Iterator[Samples]:
        file.seek(0)
        try:
            # metadata_errors: a tag in a strange encoding is no reason to lose the audio.
            with av.open(file, "r", metadata_errors="replace") as container:
                if not container.streams.audio:
                    raise ClipError("decode", "no_audio", f"{self.ref.uri}: has no audio stream")
                stream = container.streams.audio[0]
                if stream.codec_context is None:
                    raise self._undecodable("FFmpeg has no decoder for its codec")
                self.sample_rate_hz, self.channels = stream.sample_rate, stream.channels
                # Interleaved: of planar frames PyAV finds the first eight channels only.
                to_float = av.AudioResampler(format="flt")
                for decoded in container.decode(stream):
                    for frame in to_float.resample(decoded):
                        samples = frame.to_ndarray().astype(np.float32, copy=False)
                        yield samples.reshape(-1, frame.layout.nb_channels)
        except _DECODER_ERRORS as error:
            raise self._undecodable(f"libsndfile: {reason}; FFmpeg: {_reason(error)}") from error

    def _check_length(self, file: BinaryIO, sound: soundfile.SoundFile, n_frames: int) -> None:
        """Compare what was decoded with what the header promised, where it says so exactly."""
        if sound.format == "FLAC" and sound.frames < _UNKNOWN_LENGTH_FRAMES:
            promised, present, unit = sound.frames, n_frames, "frames"
        elif in_bytes := promised_and_present(file):
            (promised, present), unit = in_bytes, "bytes of audio"
        else:
            return
        if present >= promised:
            return
        if present < (1 - SHORT_TOLERANCE) * promised:
            raise ClipError(
                "decode",
                "truncated",
                f"{self.ref.uri}: the header promises {promised} {unit}, the file holds "
                f"{present}; fetch the file again",
            )
        self.decoded_short = True

    def _resampled(self, pieces: Iterator[Samples]) -> Iterator[Samples]:
        first = next(pieces)
        if self.sample_rate_hz == SAMPLE_RATE_HZ:
            yield first
            yield from pieces
            return
        stream = self._resampler()
        # A piece at a very low rate would come out thousands of times as long.
        step = max(1, PIECE_FRAMES * self.sample_rate_hz // SAMPLE_RATE_HZ)
        is_empty = True
        for piece in itertools.chain([first], pieces):
            for start in range(0, len(piece), step):
                resampled = stream.resample_chunk(piece[start : start + step])
                if len(resampled):
                    is_empty = False
                    yield resampled
        rest = stream.resample_chunk(np.zeros(0, np.float32), last=True)
        if len(rest):
            yield rest
        elif is_empty:
            raise ClipError(
                "decode",
                "empty",
                f"{self.ref.uri}: too few samples at {self.sample_rate_hz} Hz to make one at "
                f"{SAMPLE_RATE_HZ} Hz",
            )

    def _resampler(self) -> soxr.ResampleStream:
        try:
            return soxr.ResampleStream(self.sample_rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")
        except (ValueError, RuntimeError) as error:
            raise self._undecodable(
                f"cannot be resampled from {self.sample_rate_hz} Hz: {error}"
            ) from error

    def _undecodable(self, reason: str) -> ClipError:
        return ClipError("decode", "undecodable", f"{self.ref.uri}: {reason}")


def down_mix(frames: Samples) -> Samples:
    """Mean over channels, float32 (frames, channels) to (frames,).

    Channel by channel, which is an order of magnitude faster than a reduction over the short axis.
    """
    n_channels = frames.shape[1]
    mono = np.ascontiguousarray(frames[:, 0])
    if n_channels == 1:
        return mono
    mono = mono.copy()
    # Infinite values, and sums of huge ones, are found in the mean; numpy need not warn.
    with np.errstate(invalid="ignore", over="ignore"):
        for channel in range(1, n_channels):
            mono += frames[:, channel]
    mono /= np.float32(n_channels)
    return mono


def _reason(error: Exception) -> str:
    """What a decoder says, without the descriptor number that it knows the file by."""
    if isinstance(error, soundfile.LibsndfileError):
        return str(error.error_string).rstrip(".")
    if isinstance(error, av.FFmpegError):
        return str(error.strerror)
    return str(error) or type(error).__name__


def _open_soundfile(file: BinaryIO) -> soundfile.SoundFile:
    # By descriptor: libsndfile then reads natively, with no calls back into Python.
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    return soundfile.SoundFile(file.fileno(), closefd=False)

"""Probing of a file for its sample rate, channels and length, by the code that decodes it.

Only headers are read, except that FFmpeg decodes the first block of a file: the headers of some AAC
files declare half the decoded sample rate. The length is an estimate for MP3 without a frame count,
AAC without a container, and WebM.
"""

import dataclasses
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.decode.corrected_file import CorrectedFile, correct_header
from pipeline.decode.ffmpeg import FFMPEG
from pipeline.decode.headers.declared_length import DeclaredLength
from pipeline.decode.headers.flac.length import (
    FlacAudio,
    check_fits,
    check_whole,
    find_flac_audio,
    iter_other_parts,
)
from pipeline.decode.mp3_length import Mp3Length, estimate_mp3_length
from pipeline.decode.open_audio import DECODER_ERRORS, describe_error, open_audio
from pipeline.errors import CannotDecodeError
from pipeline.limits import DEFAULT_DECODER_MEMORY_BYTES


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of probing a file.

    Attributes:
        sample_rate_hz: Sample rate in Hz.
        channels: Number of channels.
        n_frames: Length in frames; None if the header gives no length.
        is_exact: Whether decoding yields exactly `n_frames`; otherwise it is an estimate.
        promise: Length that the file declares; None if it declares none.
        has_gaps: Whether data that is not audio lies between the frames, or another loss is known.
    """

    sample_rate_hz: int
    channels: int
    n_frames: int | None
    is_exact: bool
    promise: DeclaredLength | None = None
    has_gaps: bool = False


def probe_audio(file: BinaryIO, memory_bytes: int = DEFAULT_DECODER_MEMORY_BYTES) -> ProbeResult:
    """Return the sample rate, channels and length of a file.

    Args:
        file: File opened for reading; its position is moved. It needs no descriptor.
        memory_bytes: Largest amount of memory that one step of a decoder may take, in bytes.

    Raises:
        CannotDecodeError: No decoder can decode the file.
    """
    if mp3 := estimate_mp3_length(file):
        return _mp3_result(mp3)
    try:
        if (flac := find_flac_audio(file)) and flac.n_samples is not None:
            return _flac_result(file, flac, flac.n_samples)
        corrected = correct_header(file)
        if corrected.file is not file and (mp3 := estimate_mp3_length(corrected.file)):
            return _wav_mp3_result(mp3, corrected)
        declared_length = corrected.promise
        with open_audio(corrected.file, memory_bytes, is_to_decode=False) as audio_stream:
            is_known = audio_stream.n_frames is not None
            if audio_stream.is_cut and declared_length is None:
                declared_length = DeclaredLength(None, is_cut=True)
            return ProbeResult(
                audio_stream.sample_rate_hz,
                audio_stream.channels,
                audio_stream.n_frames if is_known else audio_stream.estimated_frames,
                is_known
                and not audio_stream.is_doubtful
                and not (audio_stream.decoder == FFMPEG and _is_truncated(declared_length)),
                declared_length,
                bool(audio_stream.losses),
            )
    except DECODER_ERRORS as error:
        raise CannotDecodeError("undecodable", describe_error(error)) from error


def _flac_result(file: BinaryIO, flac: FlacAudio, n_samples: int) -> ProbeResult:
    """Return the result for a file with one or more FLACs, of which the first has `n_samples`."""
    stream, present = flac.stream, n_samples
    if flac.other_starts:
        check_whole(flac)
    for other in iter_other_parts(file, flac):
        check_fits(other, stream)
        check_whole(other)
        present += other.n_samples or 0
    declared_length = (
        DeclaredLength(stream.n_samples, n_samples) if stream.n_samples > n_samples else None
    )
    return ProbeResult(stream.sample_rate_hz, stream.channels, present, True, declared_length)


def _wav_mp3_result(mp3: Mp3Length, corrected: CorrectedFile) -> ProbeResult:
    """Return the result for a WAV whose codec is MP3."""
    result = dataclasses.replace(_mp3_result(mp3), promise=corrected.promise)
    end = None if result.is_exact else corrected.most_frames(result.n_frames)
    return result if end is None else dataclasses.replace(result, n_frames=end)


def _is_truncated(declared_length: DeclaredLength | None) -> bool:
    """Return whether a file is shorter than it declares, which FFmpeg does not check."""
    if (
        declared_length is None
        or declared_length.declared is None
        or declared_length.present is None
    ):
        return False
    return declared_length.present < declared_length.declared


def _mp3_result(mp3: Mp3Length) -> ProbeResult:
    return ProbeResult(
        mp3.sample_rate_hz,
        mp3.channels,
        mp3.n_samples,
        mp3.is_exact,
        mp3.promise,
        mp3.has_gaps,
    )

"""Probing a file: sample rate, channels and length from its header, by the decoders' own code.

Nothing is decoded, except the first block of what FFmpeg reads, because the headers of some AAC
have half of the decoded rate. The length of some formats is an estimate: MP3 without a count of its
frames, bare AAC, WebM.
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
        sample_rate_hz: Sample rate.
        channels: Number of channels.
        n_frames: Number of frames; None where the header has no length.
        is_exact: Whether decoding would find exactly `n_frames`.
        promise: Length that the file declares; None for none.
        has_gaps: Whether there is something other than audio between the frames.
    """

    sample_rate_hz: int
    channels: int
    n_frames: int | None
    is_exact: bool
    promise: DeclaredLength | None = None
    has_gaps: bool = False


def probe_audio(file: BinaryIO, memory_bytes: int = DEFAULT_DECODER_MEMORY_BYTES) -> ProbeResult:
    """Probe a file.

    Args:
        file: File opened for reading; its position is moved. It needs no descriptor.
        memory_bytes: Memory that one step of a decoder may take, in bytes.

    Raises:
        CannotDecodeError: No decoder knows the file.
    """
    if mpeg := estimate_mp3_length(file):
        return _of_mpeg(mpeg)
    try:
        if (flac := find_flac_audio(file)) and flac.n_samples is not None:
            return _of_flac(file, flac, flac.n_samples)
        corrected = correct_header(file)
        if corrected.file is not file and (mpeg := estimate_mp3_length(corrected.file)):
            return _of_mpeg_in_wav(mpeg, corrected)
        promise = corrected.promise
        with open_audio(corrected.file, memory_bytes, is_to_decode=False) as sound:
            is_known = sound.n_frames is not None
            if sound.is_cut and promise is None:
                promise = DeclaredLength(None, is_cut=True)
            return ProbeResult(
                sound.sample_rate_hz,
                sound.channels,
                sound.n_frames if is_known else sound.estimated_frames,
                is_known
                and not sound.is_doubtful
                and not (sound.decoder == FFMPEG and _is_partly_missing(promise)),
                promise,
                bool(sound.losses),
            )
    except DECODER_ERRORS as error:
        raise CannotDecodeError("undecodable", describe_error(error)) from error


def _of_flac(file: BinaryIO, flac: FlacAudio, n_samples: int) -> ProbeResult:
    stream, present = flac.stream, n_samples
    if flac.other_starts:
        check_whole(flac)
    for other in iter_other_parts(file, flac):
        check_fits(other, stream)
        check_whole(other)
        present += other.n_samples or 0
    promise = DeclaredLength(stream.n_samples, n_samples) if stream.n_samples > n_samples else None
    return ProbeResult(stream.sample_rate_hz, stream.channels, present, True, promise)


def _of_mpeg_in_wav(mpeg: Mp3Length, corrected: CorrectedFile) -> ProbeResult:
    header = dataclasses.replace(_of_mpeg(mpeg), promise=corrected.promise)
    end = None if header.is_exact else corrected.most_frames(header.n_frames)
    return header if end is None else dataclasses.replace(header, n_frames=end)


def _is_partly_missing(promise: DeclaredLength | None) -> bool:
    """Return whether the file is smaller than it declares, which FFmpeg does not check."""
    if promise is None or promise.declared is None or promise.present is None:
        return False
    return promise.present < promise.declared


def _of_mpeg(mpeg: Mp3Length) -> ProbeResult:
    return ProbeResult(
        mpeg.sample_rate_hz,
        mpeg.channels,
        mpeg.n_samples,
        mpeg.is_exact,
        mpeg.promise,
        mpeg.has_gaps,
    )

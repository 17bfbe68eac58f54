"""Decoding of audio files, and of the audio of videos, by FFmpeg through PyAV."""

import contextlib
import itertools
import math
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, BinaryIO

import av
import numpy as np

from pipeline.decode.audio_stream import AudioStream
from pipeline.decode.ffmpeg_frames import audio_tracks, track_frames
from pipeline.decode.ffmpeg_input import open_ffmpeg_container
from pipeline.decode.headers.mp4_length import BLOCK_FRAMES, read_mp4_length
from pipeline.decode.headers.ogg import find_ogg_end, read_ogg_header
from pipeline.decode.headers.ogg_chain import OggChain
from pipeline.samples import Samples

FFMPEG = "FFmpeg"
"""Name of FFmpeg in `AudioStream.decoder`."""
_PREROLL_S = 1.0
"""Time that is decoded before a seek target, in seconds.

Vorbis needs the block before the target, and an Ogg page holds up to a second.
"""
_MAX_PLANES = 7
"""Largest number of channels whose planes PyAV reads correctly."""
_MIN_PIECE_FRAMES = 1 << 15
"""Number of frames from which on small arrays are yielded as one piece."""
_MAX_PADDING_FRAMES = 8192
"""Largest number of frames that an encoder (Vorbis) appends to fill its last block."""


@contextlib.contextmanager
def open_ffmpeg(file: BinaryIO, chain: OggChain | None = None) -> Iterator[AudioStream]:
    """Open the default audio track of a file with FFmpeg.

    Args:
        file: File opened for reading; its position is moved.
        chain: Links of the Ogg file, if it is chained (has several streams in sequence).

    Raises:
        CannotDecodeError: The file has no audio track.
        ValueError: The file has a format or codec that is not decoded.
        av.FFmpegError: FFmpeg does not know the format, or finds it damaged.
    """
    audio = read_ogg_header(file)
    end = find_ogg_end(file, audio) if audio and not chain else None
    with contextlib.ExitStack() as stack:
        losses: list[str] = []
        container, track, frames = _open_track(file, stack, losses)
        stream = container.streams[track]
        first = next(frames, None)
        if first is None:
            yield AudioStream(
                stream.sample_rate, stream.channels, iter(()), FFMPEG, estimated_frames=0
            )
            return
        # The headers of some AAC files declare half the decoded sample rate.
        rate_hz, channels = first.sample_rate, first.layout.nb_channels
        n_frames, is_doubtful = None, False
        family = container.format.name.partition(",")[0]
        mp4 = read_mp4_length(stream, rate_hz) if family == "mov" else None
        if mp4:
            n_frames, is_doubtful = mp4.n_frames, mp4.is_doubtful
        elif family == "flac" and stream.duration and stream.time_base:
            n_frames = round(stream.duration * stream.time_base * rate_hz)
        elif end and end.position and first.pts is not None and first.time_base:
            # The positions in a file recorded from a running stream do not begin at 0.
            n_frames = end.position - max(0, round(first.pts * first.time_base * rate_hz))
            is_doubtful = end.has_gaps
        track_reader = _TrackFrames(itertools.chain([first], frames), track, losses)
        arrays = _to_arrays(track_reader, rate_hz, channels)

        def seek(frame: int) -> int:
            target = max(0, min(frame, n_frames or 0) - round(_PREROLL_S * rate_hz))
            if track_reader.seek(container, first, target) <= frame:
                return track_reader.position
            new_container = stack.enter_context(_open_container(file))
            track_reader.frames = track_frames(new_container, track, losses)
            track_reader.position = 0
            return 0

        pieces = _join_arrays(arrays, n_frames, track_reader)
        estimated_frames = _estimate_frames(container, stream, rate_hz)
        if chain:
            estimated_frames = chain.n_frames(rate_hz)
            pieces = _report_missing(pieces, estimated_frames - _MAX_PADDING_FRAMES, losses)
        elif mp4 and not mp4.is_doubtful:
            pieces = _report_missing(pieces, mp4.n_frames, losses)
        is_vorbis = audio is not None and audio.codec == "vorbis"
        yield AudioStream(
            rate_hz,
            channels,
            pieces,
            FFMPEG,
            n_frames,
            BLOCK_FRAMES if mp4 else 0,
            seek if is_vorbis and n_frames and first.pts is not None else None,
            estimated_frames,
            losses,
            is_doubtful=is_doubtful,
        )


def _report_missing(
    pieces: Iterator[Samples], min_frames: int, losses: list[str]
) -> Iterator[Samples]:
    """Yield the pieces; append a phrase to `losses` if they have fewer than `min_frames`."""
    n = 0
    for piece in pieces:
        n += len(piece)
        yield piece
    if n < min_frames:
        losses.append(f"at least {min_frames - n} samples cannot be decoded")


def _open_track(
    file: BinaryIO, stack: contextlib.ExitStack, losses: list[str]
) -> tuple[Any, int, Iterator[Any]]:
    """Open the first audio track that can be decoded; return its container, index and frames.

    If no track has frames, return the first audio track without frames.
    """
    container = stack.enter_context(_open_container(file))
    tracks = audio_tracks(container)
    reason: av.FFmpegError | None = None
    for track in tracks:
        frames = track_frames(container, track, losses)
        try:
            first = next(frames, None)
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            reason = reason or error
        else:
            if first is not None:
                return container, track, itertools.chain([first], frames)
        # The next track needs a new container, because packets of this one are consumed.
        container = stack.enter_context(_open_container(file))
    if reason:
        raise reason
    return container, tracks[0], iter(())


def _estimate_frames(container: Any, stream: Any, rate_hz: int) -> int | None:
    """Return the length of a track in frames as FFmpeg reports it; None if it reports none.

    For some formats FFmpeg estimates the length from the bit rate.
    """
    duration_s = 0.0
    if stream.duration and stream.time_base:
        duration_s = float(stream.duration * stream.time_base)
    elif container.duration:
        duration_s = container.duration / av.time_base
    return round(duration_s * rate_hz) or None


def _open_container(file: BinaryIO) -> Any:
    # libsndfile may have moved the descriptor. Seeking to the end discards the stale buffer.
    file.seek(0, os.SEEK_END)
    file.seek(0)
    return open_ffmpeg_container(file)


class _TrackFrames:
    """An iterable over the decoded frames of a track, which can seek before it is iterated.

    Args:
        frames: Iterator over all decoded frames of the track.
        track: Index of the track in its container.
        losses: List to which a phrase is appended if the end cannot be decoded.

    Attributes:
        frames: Iterator over the frames that have not been consumed.
        position: Position at which `frames` begins, in samples from the start of the track.
    """

    def __init__(self, frames: Iterator[Any], track: int, losses: list[str]) -> None:
        self.frames = frames
        self.position = 0
        self._track = track
        self._losses = losses

    def __iter__(self) -> Iterator[Any]:
        return self.frames

    def seek(self, container: Any, first: Any, target: int) -> float:
        """Seek to a sample or before it; return the resulting position.

        The result is infinite if the position is unknown or before the start of the track.

        Args:
            container: PyAV container of the track.
            first: First decoded frame of the track.
            target: Position to seek to, in samples from the start of the track.
        """
        stream = container.streams[self._track]
        start = first.pts * first.time_base
        container.seek(
            int((start + Fraction(target, first.sample_rate)) / stream.time_base), stream=stream
        )
        frames = track_frames(container, self._track, self._losses)
        found = next(frames, None)
        if found is None or found.pts is None:
            return math.inf
        self.position = round((found.pts * found.time_base - start) * first.sample_rate)
        self.frames = itertools.chain([found], frames)
        return self.position if self.position >= 0 else math.inf


def _to_arrays(frames: Iterable[Any], rate_hz: int, channels: int) -> Iterator[Samples]:
    """Yield decoded frames as arrays, float32 (frames, channels).

    Raises:
        ValueError: The sample rate or the number of channels changes.
    """
    to_float = av.AudioResampler(format="flt")
    for decoded in frames:
        if (decoded.sample_rate, decoded.layout.nb_channels) != (rate_hz, channels):
            raise ValueError(
                f"changes from {rate_hz} Hz with {channels} channels to {decoded.sample_rate} Hz "
                f"with {decoded.layout.nb_channels}; split it there"
            )
        # For 8 planes PyAV reads a ninth, which crashes; for more than 8 it reads only 8.
        if decoded.format.name == "fltp" and channels <= _MAX_PLANES:
            yield decoded.to_ndarray().T
            continue
        for frame in to_float.resample(decoded):
            samples = frame.to_ndarray().astype(np.float32, copy=False)
            yield samples.reshape(-1, channels)


def _join_arrays(
    arrays: Iterator[Samples], n_frames: int | None, track_reader: _TrackFrames
) -> Iterator[Samples]:
    """Join small arrays to larger pieces, without the encoder's padding after `n_frames`.

    More than `_MAX_PADDING_FRAMES` frames after `n_frames` are kept, because they are not padding.
    """
    buffered: list[Samples] = []
    n_buffered, n = 0, track_reader.position
    for array in arrays:
        buffered.append(array)
        n_buffered += len(array)
        n += len(array)
        if n_buffered >= _MIN_PIECE_FRAMES:
            joined = np.concatenate(buffered)
            yield joined[:-_MAX_PADDING_FRAMES]
            buffered, n_buffered = [joined[-_MAX_PADDING_FRAMES:]], _MAX_PADDING_FRAMES
    if not buffered:
        return
    rest = np.concatenate(buffered)
    padding = n - n_frames if n_frames else 0
    if 0 < padding <= _MAX_PADDING_FRAMES:
        rest = rest[:-padding]
    if len(rest):
        yield rest

"""Audio files decoded by FFmpeg, through PyAV."""

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
_RUN_UP_S = 1.0
"""Seconds to decode before a seek target: Vorbis needs a block, and pages have up to a second."""
_MOST_PLANES = 7
_JOINED_FRAMES = 1 << 15
_MOST_FILLING = 8192
"""Largest number of frames that an encoder adds to fill its last block; Vorbis adds most."""


@contextlib.contextmanager
def open_ffmpeg(file: BinaryIO, chain: OggChain | None = None) -> Iterator[AudioStream]:
    """Open a file, or the default audio track of a video, with FFmpeg.

    Args:
        file: File opened for reading; its position is moved.
        chain: The links of an Ogg file that has more than one.

    Raises:
        CannotDecodeError: The file has no audio stream.
    """
    audio = read_ogg_header(file)
    end = find_ogg_end(file, audio) if audio and not chain else None
    with contextlib.ExitStack() as stack:
        losses: list[str] = []
        container, track, frames = _opened_track(file, stack, losses)
        stream = container.streams[track]
        first = next(frames, None)
        if first is None:
            yield AudioStream(
                stream.sample_rate, stream.channels, iter(()), FFMPEG, estimated_frames=0
            )
            return
        # The header of some AAC has half the rate that comes out.
        rate_hz, channels = first.sample_rate, first.layout.nb_channels
        n_frames, is_doubtful = None, False
        family = container.format.name.partition(",")[0]
        mp4 = read_mp4_length(stream, rate_hz) if family == "mov" else None
        if mp4:
            n_frames, is_doubtful = mp4.n_frames, mp4.is_doubtful
        elif family == "flac" and stream.duration and stream.time_base:
            n_frames = round(stream.duration * stream.time_base * rate_hz)
        elif end and end.position and first.pts is not None and first.time_base:
            # One recorded from a running stream does not begin at 0.
            n_frames = end.position - max(0, round(first.pts * first.time_base * rate_hz))
            is_doubtful = end.has_gaps
        decoded = _Decoded(itertools.chain([first], frames), track, losses)
        arrays = _arrays(decoded, rate_hz, channels)

        def seek(frame: int) -> int:
            near = max(0, min(frame, n_frames or 0) - round(_RUN_UP_S * rate_hz))
            if decoded.seek(container, first, near) <= frame:
                return decoded.at
            again = stack.enter_context(_container(file))
            decoded.frames, decoded.at = track_frames(again, track, losses), 0
            return 0

        pieces = _joined(arrays, n_frames, decoded)
        about_frames = _about_frames(container, stream, rate_hz)
        if chain:
            about_frames = chain.n_frames(rate_hz)
            pieces = _told_if_fewer(pieces, about_frames - _MOST_FILLING, losses)
        elif mp4 and not mp4.is_doubtful:
            pieces = _told_if_fewer(pieces, mp4.n_frames, losses)
        is_vorbis = audio is not None and audio.codec == "vorbis"
        yield AudioStream(
            rate_hz,
            channels,
            pieces,
            FFMPEG,
            n_frames,
            BLOCK_FRAMES if mp4 else 0,
            seek if is_vorbis and n_frames and first.pts is not None else None,
            about_frames,
            losses,
            is_doubtful=is_doubtful,
        )


def _told_if_fewer(
    pieces: Iterator[Samples], least_frames: int, losses: list[str]
) -> Iterator[Samples]:
    n = 0
    for piece in pieces:
        n += len(piece)
        yield piece
    if n < least_frames:
        losses.append(f"{least_frames - n} samples or more cannot be decoded")


def _opened_track(
    file: BinaryIO, stack: contextlib.ExitStack, losses: list[str]
) -> tuple[Any, int, Iterator[Any]]:
    """Open the preferred track that has frames; return its container, index and frames."""
    container = stack.enter_context(_container(file))
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
        container = stack.enter_context(_container(file))
    if reason:
        raise reason
    return container, tracks[0], iter(())


def _about_frames(container: Any, stream: Any, rate_hz: int) -> int | None:
    """Return FFmpeg's length of a track; for some formats an estimate from the bit rate."""
    duration_s = 0.0
    if stream.duration and stream.time_base:
        duration_s = float(stream.duration * stream.time_base)
    elif container.duration:
        duration_s = container.duration / av.time_base
    return round(duration_s * rate_hz) or None


def _container(file: BinaryIO) -> Any:
    # Only this empties the buffer, after libsndfile has moved the descriptor.
    file.seek(0, os.SEEK_END)
    file.seek(0)
    return open_ffmpeg_container(file)


class _Decoded:
    """The decoded frames of a track, from its start or from another position.

    Args:
        frames: The first frames.
        track: Index of the track that they are of.
        losses: List that gets a phrase if the end cannot be decoded.

    Attributes:
        frames: The frames still to come.
        at: Number of samples before them.
    """

    def __init__(self, frames: Iterator[Any], track: int, losses: list[str]) -> None:
        self.frames = frames
        self.at = 0
        self._track = track
        self._losses = losses

    def __iter__(self) -> Iterator[Any]:
        return self.frames

    def seek(self, container: Any, first: Any, near: int) -> float:
        """Seek to a sample or before it; return the first sample, infinite if it is unknown."""
        stream = container.streams[self._track]
        start = first.pts * first.time_base
        container.seek(
            int((start + Fraction(near, first.sample_rate)) / stream.time_base), stream=stream
        )
        frames = track_frames(container, self._track, self._losses)
        found = next(frames, None)
        if found is None or found.pts is None:
            return math.inf
        self.at = round((found.pts * found.time_base - start) * first.sample_rate)
        self.frames = itertools.chain([found], frames)
        return self.at if self.at >= 0 else math.inf


def _arrays(frames: Iterable[Any], rate_hz: int, channels: int) -> Iterator[Samples]:
    to_float = av.AudioResampler(format="flt")
    for decoded in frames:
        if (decoded.sample_rate, decoded.layout.nb_channels) != (rate_hz, channels):
            raise ValueError(
                f"changes from {rate_hz} Hz with {channels} channels to {decoded.sample_rate} Hz "
                f"with {decoded.layout.nb_channels}; split it there"
            )
        # PyAV reads a ninth plane of eight, which crashes, and of more than eight only eight.
        if decoded.format.name == "fltp" and channels <= _MOST_PLANES:
            yield decoded.to_ndarray().T
            continue
        for frame in to_float.resample(decoded):
            samples = frame.to_ndarray().astype(np.float32, copy=False)
            yield samples.reshape(-1, channels)


def _joined(
    arrays: Iterator[Samples], n_frames: int | None, decoded: _Decoded
) -> Iterator[Samples]:
    """Join small arrays to larger ones, without the filling after `n_frames`."""
    held: list[Samples] = []
    n_held, n = 0, decoded.at
    for array in arrays:
        held.append(array)
        n_held += len(array)
        n += len(array)
        if n_held >= _JOINED_FRAMES:
            joined = np.concatenate(held)
            yield joined[:-_MOST_FILLING]
            held, n_held = [joined[-_MOST_FILLING:]], _MOST_FILLING
    if not held:
        return
    rest = np.concatenate(held)
    filling = n - n_frames if n_frames else 0
    if 0 < filling <= _MOST_FILLING:
        rest = rest[:-filling]
    if len(rest):
        yield rest

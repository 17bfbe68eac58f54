"""Decoding a file without a container up to its last whole frame."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from pipeline.decode.audio_stream import AudioStream
from pipeline.decode.headers.bare_frames import BareFrames
from pipeline.decode.headers.overlay import Overlay
from pipeline.decode.unbounded_file import UnboundedFile

Decoder = Callable[[BinaryIO], Any]


def limit_to_frames(
    frames: BareFrames, by_libsndfile: Decoder, by_ffmpeg: Decoder
) -> tuple[Decoder, Decoder]:
    """Return the decoders of both libraries, limited to the frames of a file.

    Args:
        frames: The frames of the file.
        by_libsndfile: Opens a file with libsndfile.
        by_ffmpeg: Opens a file with FFmpeg.
    """

    def first(file: BinaryIO) -> Any:
        if file.seek(0, os.SEEK_END) == frames.end:
            return by_libsndfile(file)
        return by_libsndfile(cast(BinaryIO, UnboundedFile(file, frames.end, frames.start)))

    def second(file: BinaryIO) -> Any:
        if not frames.start and file.seek(0, os.SEEK_END) == frames.end:
            return by_ffmpeg(file)
        return by_ffmpeg(cast(BinaryIO, Overlay(file, b"", frames.start, frames.end)))

    return first, second


def report_losses(sound: AudioStream, frames: BareFrames) -> AudioStream:
    """Return a stream with its estimated length and its losses.

    Args:
        sound: The decoder's stream.
        frames: The frames of the file.
    """
    if frames.n_gaps:
        sound.losses.append(f"something lies between its frames, in {frames.n_gaps} places")
    n_samples = frames.n_samples
    if frames.rate_hz:
        n_samples = n_samples * sound.sample_rate_hz // frames.rate_hz
    return dataclasses.replace(sound, estimated_frames=n_samples, is_cut=frames.is_cut)

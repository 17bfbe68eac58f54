"""Decoding of files without a container (such as bare AAC), up to their last complete frame.

Decoders may fail on an incomplete frame, or decode data after the last frame as audio. They are
therefore given a view of the file that ends with its last complete frame.
"""

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
    frames: BareFrames, open_libsndfile: Decoder, open_ffmpeg: Decoder
) -> tuple[Decoder, Decoder]:
    """Return the openers of both decoders, limited to the complete frames of a file.

    Args:
        frames: Summary of the frames in the file.
        open_libsndfile: Function that opens a file with libsndfile.
        open_ffmpeg: Function that opens a file with FFmpeg.

    Returns:
        The opener that uses libsndfile, and the opener that uses FFmpeg.
    """

    def open_by_libsndfile(file: BinaryIO) -> Any:
        if file.seek(0, os.SEEK_END) == frames.end:
            return open_libsndfile(file)
        return open_libsndfile(cast(BinaryIO, UnboundedFile(file, frames.end, frames.start)))

    def open_by_ffmpeg(file: BinaryIO) -> Any:
        if not frames.start and file.seek(0, os.SEEK_END) == frames.end:
            return open_ffmpeg(file)
        return open_ffmpeg(cast(BinaryIO, Overlay(file, b"", frames.start, frames.end)))

    return open_by_libsndfile, open_by_ffmpeg


def report_losses(stream: AudioStream, frames: BareFrames) -> AudioStream:
    """Return a stream with the length and the damage that its frames show.

    Args:
        stream: The decoder's stream; its `losses` are extended.
        frames: Summary of the frames in the file.
    """
    if frames.n_gaps:
        stream.losses.append(
            f"data that is not audio lies between its frames, {frames.n_gaps} times"
        )
    n_samples = frames.n_samples
    if frames.rate_hz:
        n_samples = n_samples * stream.sample_rate_hz // frames.rate_hz
    return dataclasses.replace(stream, estimated_frames=n_samples, is_cut=frames.is_cut)

"""An open audio stream, the same for all decoders."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pipeline.samples import Samples

PIECE_FRAMES = 1 << 17
LIBSNDFILE = "libsndfile"
"""Name of libsndfile in `AudioStream.decoder`."""


@dataclass(frozen=True, slots=True)
class AudioStream:
    """An open audio stream.

    Attributes:
        sample_rate_hz: Sample rate.
        channels: Number of channels.
        pieces: Float32 (frames, channels), once and in order; may raise `DECODER_ERRORS`.
        decoder: Name of the decoder.
        n_frames: Number of frames by the header; None where that is not exact.
        tolerance_frames: Number of frames that may be missing from `n_frames` without being short.
        seek: Called before the first of `pieces`, so that they begin at the given frame or before
            it; returns the first frame. The frames equal those decoded from the start. None for
            streams that have to be decoded from their start.
        estimated_frames: The decoder's estimate of the length where `n_frames` is None; None for no
            estimate.
        losses: What of the recording is not audio or cannot be decoded, one phrase each; may grow
            while `pieces` are taken. A clip of a recording with losses is decoded short.
        is_cut: Whether the file ends inside a part of the audio, so that its end is missing.
        is_doubtful: Whether decoding may find another length than `n_frames`: the header counts it
            in another unit than samples, or the file is damaged.
    """

    sample_rate_hz: int
    channels: int
    pieces: Iterator[Samples]
    decoder: str
    n_frames: int | None = None
    tolerance_frames: int = 0
    seek: Callable[[int], int] | None = None
    estimated_frames: int | None = None
    losses: list[str] = field(default_factory=list)
    is_cut: bool = False
    is_doubtful: bool = False

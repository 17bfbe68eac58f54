"""The audio stream of an open file, in the same form for every decoder."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pipeline.samples import Samples

PIECE_FRAMES = 1 << 17
"""Largest number of frames in a piece that libsndfile reads at once."""
LIBSNDFILE = "libsndfile"
"""Name of libsndfile in `AudioStream.decoder`."""


@dataclass(frozen=True, slots=True)
class AudioStream:
    """An open audio stream.

    Attributes:
        sample_rate_hz: Sample rate of the frames in Hz.
        channels: Number of channels.
        pieces: Iterator over the audio in order, float32 (frames, channels). It can be consumed
            once, and may raise `DECODER_ERRORS`.
        decoder: Name of the decoder, `LIBSNDFILE` or `FFMPEG`.
        n_frames: Length that the header declares, in frames; None if the header is not exact.
        tolerance_frames: Number of frames by which a complete stream may be shorter than
            `n_frames`.
        seek: Function that makes `pieces` begin at a frame or before it. It is called before the
            first piece is taken, and returns the frame at which they begin. The frames equal
            those decoded from the start. None if the stream must be decoded from its start.
        estimated_frames: Estimated length in frames, for streams without `n_frames`; None if there
            is no estimate.
        losses: Phrases that describe parts of the recording that are not audio or cannot be
            decoded. The list may grow while `pieces` is consumed.
        is_cut: Whether the file ends inside an audio frame, so that the end of the audio is
            missing.
        is_doubtful: Whether decoding may find another length than `n_frames`, because the header
            does not count samples or the file is damaged.
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

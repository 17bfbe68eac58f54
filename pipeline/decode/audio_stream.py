"""An open recording, whichever decoder has opened it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pipeline.samples import Samples

PIECE_FRAMES = 1 << 17
LIBSNDFILE = "libsndfile"
"""Name of the decoder that goes first, as `Sound.decoder` has it."""


@dataclass(frozen=True, slots=True)
class AudioStream:
    """An open recording.

    Attributes:
        sample_rate_hz: its rate.
        channels: how many it has.
        pieces: float32 (frames, channels), once and in order; may raise `DECODER_ERRORS`.
        n_frames: as its header says, None where that is not exact.
        slack: how many frames less than that count as all of them.
        decoder: who decodes it.
        seek: called before the first of `pieces`, has them begin at this frame or before, where
            they still are what they would be from the start; returns where. None for what has to
            be decoded from its start.
        about_frames: where `n_frames` is None, what the decoder takes the length to be; None where
            it has no idea.
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

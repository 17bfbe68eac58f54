"""What a clip may cost, and how much of it may be missing: settings of a table.

They decide which clips have a row in `clips` and which one in `errors`.
"""

from dataclasses import dataclass

DEFAULT_MAX_CLIP_S = 86_400.0
"""A day."""
DEFAULT_MAX_CLIP_BYTES = 16 << 30
"""A day of 16-bit stereo at 48 kHz."""
DEFAULT_SHORT_TOLERANCE = 0.01
DEFAULT_DECODER_MEMORY_BYTES = 2 << 30
MIN_SAMPLE_RATE_HZ = 100
"""Lowest sample rate of a recording. Below it a file of 200 bytes can be days of audio."""
MIN_BYTES_PER_S = 8
"""Fewest bytes that a second of audio takes in any format; FLAC of silence has some 30."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one clip.

    Attributes:
        max_clip_s: longest clip, in seconds; decoding stops there.
        max_clip_bytes: largest file, in bytes.
        short_tolerance: share of the audio, 0 to 1, that may be missing of what the file promises
            before the clip counts as damaged.
        decoder_memory_bytes: Memory that one step of a decoder may take, in bytes. A limit of the
            machine and not of the table: it is no part of the spec.
    """

    max_clip_s: float = DEFAULT_MAX_CLIP_S
    max_clip_bytes: int = DEFAULT_MAX_CLIP_BYTES
    short_tolerance: float = DEFAULT_SHORT_TOLERANCE
    decoder_memory_bytes: int = DEFAULT_DECODER_MEMORY_BYTES


DEFAULT_LIMITS = Limits()

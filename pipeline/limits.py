"""Limits of one clip: its length, its size, and how much of its audio may be missing.

They decide whether a clip gets a row in `clips` or in `errors`.
"""

from dataclasses import dataclass

DEFAULT_MAX_CLIP_S = 86_400.0
"""Default of the longest clip, in seconds: a day."""
DEFAULT_MAX_CLIP_BYTES = 16 << 30
"""Default of the largest file, in bytes: a day of 16-bit stereo at 48 kHz."""
DEFAULT_SHORT_TOLERANCE = 0.01
DEFAULT_DECODER_MEMORY_BYTES = 2 << 30
MIN_SAMPLE_RATE_HZ = 100
"""Lowest sample rate of a recording. At lower rates a file of 200 bytes can be days of audio."""
MIN_BYTES_PER_S = 8
"""Fewest bytes per second of audio in any codec; silence in FLAC takes about 30."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one clip.

    Attributes:
        max_clip_s: Length of the longest clip, in seconds. Decoding stops there.
        max_clip_bytes: Size of the largest file, in bytes.
        short_tolerance: Fraction of the declared audio, 0 to 1, that may be missing before the
            clip counts as truncated.
        decoder_memory_bytes: Memory that one step of a decoder may take, in bytes. This is a limit
            of the machine, so it is not part of the table's spec.
    """

    max_clip_s: float = DEFAULT_MAX_CLIP_S
    max_clip_bytes: int = DEFAULT_MAX_CLIP_BYTES
    short_tolerance: float = DEFAULT_SHORT_TOLERANCE
    decoder_memory_bytes: int = DEFAULT_DECODER_MEMORY_BYTES


DEFAULT_LIMITS = Limits()

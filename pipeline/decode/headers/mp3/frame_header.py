"""A parser of the frame headers of an MP3 (ISO 11172-3)."""

from dataclasses import dataclass

PROBE_BYTES = 1 << 16
"""Number of bytes after the tags in which the first frames are parsed."""
HEADER_BYTES = 4
"""Length of a frame header in bytes."""
_KBPS = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG-1
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG-2 and 2.5
}
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MPEG1, _LAYER_III, _MONO = 3, 1, 3


@dataclass(frozen=True, slots=True)
class Mp3FrameHeader:
    """The header of an MP3 frame.

    Attributes:
        sample_rate_hz: Sample rate in Hz.
        channels: Number of channels, 1 or 2.
        n_samples: Number of samples per channel that the frame decodes to.
        n_bytes: Size of the frame in bytes, including its header.
    """

    sample_rate_hz: int
    channels: int
    n_samples: int
    n_bytes: int


def read_frame_headers(content: bytes, *, is_complete: bool) -> list[Mp3FrameHeader]:
    """Return the headers of consecutive frames from the start of the audio.

    A single frame counts only if it is the whole audio. In other files a few bytes may look like a
    frame header by chance, but then no second frame follows.

    Args:
        content: First bytes of the audio.
        is_complete: Whether `content` is all of the audio.

    Returns:
        The headers up to the first change of sample rate or frame length, or an empty list.
    """
    frames: list[Mp3FrameHeader] = []
    at = 0
    while frame := parse_frame_header(content[at : at + HEADER_BYTES]):
        if frames and (frame.sample_rate_hz, frame.n_samples) != (
            frames[0].sample_rate_hz,
            frames[0].n_samples,
        ):
            break
        frames.append(frame)
        at += frame.n_bytes
    is_whole = len(frames) == 1 and is_complete and at <= len(content)
    return frames if len(frames) > 1 or is_whole else []


def parse_frame_header(header: bytes) -> Mp3FrameHeader | None:
    """Parse a frame header; None if the bytes are not the header of an MP3 frame.

    Args:
        header: The four bytes of the header.
    """
    if len(header) < HEADER_BYTES or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    kbps, rate = header[2] >> 4, header[2] >> 2 & 3
    if layer != _LAYER_III or version not in _RATES_HZ or not 0 < kbps < 15 or rate > 2:
        return None
    rate_hz = _RATES_HZ[version][rate]
    bit_rate = 1000 * _KBPS[_MPEG1 if version == _MPEG1 else 2][kbps]
    n_samples = 1152 if version == _MPEG1 else 576
    n_bytes = n_samples // 8 * bit_rate // rate_hz + (header[2] >> 1 & 1)
    return Mp3FrameHeader(rate_hz, 1 if header[3] >> 6 == _MONO else 2, n_samples, n_bytes)

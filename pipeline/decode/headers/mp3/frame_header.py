"""The frames of an MP3, each as its header has it; the format is ISO 11172-3's."""

from dataclasses import dataclass

PROBE_BYTES = 1 << 16
"""Behind the tags, that frames are counted in."""
HEADER_BYTES = 4
_KBPS = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG-1
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG-2 and 2.5
}
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MPEG1, _LAYER_III, _MONO = 3, 1, 3


@dataclass(frozen=True, slots=True)
class Mp3FrameHeader:
    """What the header of a frame says.

    Attributes:
        sample_rate_hz: its rate.
        channels: 1 or 2.
        n_samples: that it decodes to.
        n_bytes: of all of it, the header among them.
    """

    sample_rate_hz: int
    channels: int
    n_samples: int
    n_bytes: int


def read_frame_headers(head: bytes, *, is_complete: bool) -> list[Mp3FrameHeader]:
    """The frames that follow one another from the start; none where it is not plain that they do.

    Args:
        head: the first bytes of the audio.
        is_all: nothing comes behind them.
    """
    frames: list[Mp3FrameHeader] = []
    at = 0
    while frame := parse_frame_header(head[at : at + HEADER_BYTES]):
        if frames and (frame.sample_rate_hz, frame.n_samples) != (
            frames[0].sample_rate_hz,
            frames[0].n_samples,
        ):
            break
        frames.append(frame)
        at += frame.n_bytes
    # Of other files a few bytes may look like a frame by chance; a second one then does not follow.
    is_one = len(frames) == 1 and is_complete and at <= len(head)
    return frames if len(frames) > 1 or is_one else []


def parse_frame_header(header: bytes) -> Mp3FrameHeader | None:
    """The frame that a header begins; None where it is none.

    Args:
        header: its four bytes.
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

"""How long an MP3 is, by its first frames alone and without decoding; the format is ISO 11172-3's.

Where `mpeg` finds that the file counts its own frames, that is how long it is. Where not, as many
frames follow one another as the size of those at the start makes likely: exact for a constant bit
rate, up to what tags lie behind the audio, and a guess for a variable one.
"""

from dataclasses import dataclass
from typing import BinaryIO

from pipeline.mpeg import UNTOLD_DELAY, after_id3, mpeg_audio

HEAD_BYTES = 1 << 16
"""Behind the tags, that frames are counted in."""
HEADER_BYTES = 4
_KBPS = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG-1
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG-2 and 2.5
}
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MPEG1, _LAYER_III, _MONO = 3, 1, 3


@dataclass(frozen=True, slots=True)
class MpegLength:
    """The length of an MP3.

    Attributes:
        sample_rate_hz: its rate.
        channels: 1 or 2.
        n_samples: that it decodes to, as far as this can tell.
        is_exact: the file says it itself.
        promised_bytes: that the file says it has, from its first frame on; None where it does not.
        present_bytes: that it has there.
    """

    sample_rate_hz: int
    channels: int
    n_samples: int
    is_exact: bool
    promised_bytes: int | None
    present_bytes: int


@dataclass(frozen=True, slots=True)
class MpegFrame:
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


def mpeg_length(file: BinaryIO) -> MpegLength | None:
    """The length of an MP3; None where the file is none, or not one frame after another.

    Args:
        file: opened for reading; its position is moved.
    """
    told = mpeg_audio(file)
    if told is None:
        return None
    start = after_id3(file)
    n_bytes = file.seek(0, 2) - start
    file.seek(start)
    frames = frames_in(file.read(HEAD_BYTES), is_all=n_bytes <= HEAD_BYTES)
    if not frames:
        return None
    first = frames[0]
    is_exact = told.n_samples is not None
    return MpegLength(
        first.sample_rate_hz,
        first.channels,
        _guess(frames, n_bytes, told.has_tag) if told.n_samples is None else told.n_samples,
        is_exact,
        told.n_bytes,
        n_bytes,
    )


def _guess(frames: list[MpegFrame], n_bytes: int, has_tag: bool) -> int:
    """How many samples so many bytes of frames like these decode to."""
    n_samples = frames[0].n_samples
    if has_tag:  # the frame that it stands in has no audio
        frames, n_bytes = frames[1:], n_bytes - frames[0].n_bytes
    if not frames:
        return 0
    n_frames = round(n_bytes * len(frames) / sum(frame.n_bytes for frame in frames))
    return max(0, n_frames * n_samples - (0 if has_tag else UNTOLD_DELAY))


def frames_in(head: bytes, *, is_all: bool) -> list[MpegFrame]:
    """The frames that follow one another from the start; none where it is not plain that they do.

    Args:
        head: the first bytes of the audio.
        is_all: nothing comes behind them.
    """
    frames: list[MpegFrame] = []
    at = 0
    while frame := frame_of(head[at : at + HEADER_BYTES]):
        if frames and (frame.sample_rate_hz, frame.n_samples) != (
            frames[0].sample_rate_hz,
            frames[0].n_samples,
        ):
            break
        frames.append(frame)
        at += frame.n_bytes
    # Of other files a few bytes may look like a frame by chance; a second one then does not follow.
    is_one = len(frames) == 1 and is_all and at <= len(head)
    return frames if len(frames) > 1 or is_one else []


def frame_of(header: bytes) -> MpegFrame | None:
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
    return MpegFrame(rate_hz, 1 if header[3] >> 6 == _MONO else 2, n_samples, n_bytes)

"""Headers of a FLAC (RFC 9639): of the whole, and of a frame."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_FRAME_HEADER_BYTES = 16
STREAM_BYTES = 42
"""Bytes of the signature and of STREAMINFO, which always comes first."""
SIGNATURES = tuple(b"fLaC" + first + b"\0\0\x22" for first in (b"\0", b"\x80"))
"""Beginnings of a FLAC: STREAMINFO has 34 bytes, and may be the only block before the audio."""
_SYNC = re.compile(rb"\xff[\xf8\xf9]")
_MOST_SYNCS = 10_000
"""Places to look at in a part of a file; chance puts a hundred of them into four megabytes."""
_TOTAL_AT = 21
_TOTAL_MASK = (1 << 36) - 1
_RATES_HZ = {
    1: 88_200,
    2: 176_400,
    3: 192_000,
    4: 8_000,
    5: 16_000,
    6: 22_050,
    7: 24_000,
    8: 32_000,
    9: 44_100,
    10: 48_000,
    11: 96_000,
}
_FROM_STREAM, _MORE_8, _MORE_16, _MORE_16_TENS = 0, 12, 13, 14
_CRC8_POLYNOMIAL = 0x107


@dataclass(frozen=True, slots=True)
class FlacStream:
    """What STREAMINFO says.

    Attributes:
        sample_rate_hz: Its sample rate.
        channels: Number of its channels.
        most_block: Samples of its longest frame.
        is_fixed: All frames but the last one have that length.
        most_bytes: Bytes of its longest frame, 0 where that is not said.
        n_samples: Number of samples per channel, 0 where that is not said.
        head: The bytes that say so, and the signature.
    """

    sample_rate_hz: int
    channels: int
    max_block_samples: int
    is_fixed: bool
    max_frame_bytes: int
    n_samples: int
    header: bytes


@dataclass(frozen=True, slots=True)
class FlacFrame:
    """What the header of a frame says.

    Attributes:
        first: Number of its first sample.
        n_samples: Number of its samples per channel.
    """

    first: int
    n_samples: int

    @property
    def end(self) -> int:
        """Number of the sample after its last one."""
        return self.first + self.n_samples


def read_streaminfo(head: bytes) -> FlacStream | None:
    """Return what STREAMINFO says; None where a FLAC does not begin like this.

    Args:
        head: The first `STREAM_BYTES` of the file.
    """
    if len(head) < STREAM_BYTES or not head.startswith(SIGNATURES):
        return None
    packed = int.from_bytes(head[18:26], "big")
    shortest, longest = int.from_bytes(head[8:10], "big"), int.from_bytes(head[10:12], "big")
    return FlacStream(
        packed >> 44,
        (packed >> 41 & 7) + 1,
        longest,
        shortest == longest,
        int.from_bytes(head[15:18], "big"),
        packed & _TOTAL_MASK,
        head,
    )


def replace_sample_count(head: bytes, n_samples: int) -> bytes:
    """Return a STREAMINFO that says another number of samples.

    Args:
        head: The first `STREAM_BYTES` of the file.
        n_samples: The number.
    """
    packed = int.from_bytes(head[_TOTAL_AT : _TOTAL_AT + 5], "big") & ~_TOTAL_MASK
    total = (packed | n_samples & _TOTAL_MASK).to_bytes(5, "big")
    return head[:_TOTAL_AT] + total + head[_TOTAL_AT + 5 :]


def read_frame(head: bytes, stream: FlacStream) -> FlacFrame | None:
    """Return what the header of a frame says; None where no frame of this stream begins.

    Args:
        head: The first 16 bytes of the frame, or what there is of them.
        stream: What STREAMINFO says.
    """
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    size_code, rate_code, channel_code = head[2] >> 4, head[2] & 15, head[3] >> 4
    channels = channel_code + 1 if channel_code < 8 else 2
    number = _coded_number(head[4:11])
    if size_code == 0 or channel_code > 10 or channels != stream.channels or number is None:
        return None
    value, at = number[0], 4 + number[1]
    n_size = {6: 1, 7: 2}.get(size_code, 0)
    n_rate = {_MORE_8: 1, _MORE_16: 2, _MORE_16_TENS: 2}.get(rate_code, 0)
    end = at + n_size + n_rate
    if len(head) <= end or _crc8(head[:end]) != head[end]:
        return None
    n_samples = _block(size_code, int.from_bytes(head[at : at + n_size], "big"))
    rate = int.from_bytes(head[at + n_size : end], "big")
    if _rate_hz(rate_code, rate, stream) != stream.sample_rate_hz or n_samples > stream.max_block_samples:
        return None
    is_by_sample = bool(head[1] & 1)
    return FlacFrame(value if is_by_sample else value * stream.max_block_samples, n_samples)


def iter_frames_backwards(content: bytes, stream: FlacStream) -> Iterator[tuple[int, FlacFrame]]:
    """Yield where frames begin, and what their headers say, the last one first.

    Args:
        content: Part of a FLAC.
        stream: What STREAMINFO says.
    """
    places = [found.start() for found in _SYNC.finditer(content)]
    for at in itertools.islice(reversed(places), _MOST_SYNCS):
        if frame := read_frame(content[at : at + MAX_FRAME_HEADER_BYTES], stream):
            yield at, frame


def find_next_frame(content: bytes, at: int, stream: FlacStream) -> tuple[int, FlacFrame | None]:
    """Return where the first frame from an offset on begins, and what its header says.

    Args:
        content: Part of a FLAC.
        at: Offset in it.
        stream: What STREAMINFO says.
    """
    for found in itertools.islice(_SYNC.finditer(content, at), _MOST_SYNCS):
        at = found.start()
        if frame := read_frame(content[at : at + MAX_FRAME_HEADER_BYTES], stream):
            return at, frame
    return -1, None


def _coded_number(coded: bytes) -> tuple[int, int] | None:
    """Return a number coded as UTF-8 codes characters, and in how many bytes."""
    first = coded[0]
    if first < 0x80:
        return first, 1
    n_bytes = 8 - (first ^ 0xFF).bit_length()
    if not 2 <= n_bytes <= 7 or len(coded) < n_bytes:
        return None
    value = first & (0x7F >> n_bytes)
    for byte in coded[1:n_bytes]:
        if byte & 0xC0 != 0x80:
            return None
        value = value << 6 | byte & 0x3F
    return value, n_bytes


def _block(code: int, more: int) -> int:
    if code == 1:
        return 192
    if code < 6:
        return 576 << (code - 2)
    return more + 1 if code < 8 else 256 << (code - 8)


def _rate_hz(code: int, more: int, stream: FlacStream) -> int | None:
    if code == _FROM_STREAM:
        return stream.sample_rate_hz
    if code == _MORE_8:
        return 1000 * more
    if code in (_MORE_16, _MORE_16_TENS):
        return more * (10 if code == _MORE_16_TENS else 1)
    return _RATES_HZ.get(code)


def _crc8(content: bytes) -> int:
    crc = 0
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc <<= 1
            if crc & 0x100:
                crc ^= _CRC8_POLYNOMIAL
    return crc

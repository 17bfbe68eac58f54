"""A parser of the two headers of a FLAC (RFC 9639): STREAMINFO and the frame header."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_FRAME_HEADER_BYTES = 16
STREAM_BYTES = 42
"""Length in bytes of the signature and of STREAMINFO, which is always the first block."""
SIGNATURES = tuple(b"fLaC" + first + b"\0\0\x22" for first in (b"\0", b"\x80"))
"""First bytes of a FLAC: the signature and the block header of STREAMINFO."""
_SYNC = re.compile(rb"\xff[\xf8\xf9]")
_MAX_SYNCS = 10_000
"""Maximum number of sync codes to check in a part of a file.

In four megabytes of compressed audio, about a hundred occur by chance.
"""
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
_STREAM_RATE, _KHZ_8_BIT, _HZ_16_BIT, _TENS_OF_HZ_16_BIT = 0, 12, 13, 14
"""Codes of a sample rate that is in STREAMINFO, or in extra bytes at the end of the header."""
_CRC8_POLYNOMIAL = 0x107


@dataclass(frozen=True, slots=True)
class FlacStream:
    """The STREAMINFO block of a FLAC.

    Attributes:
        sample_rate_hz: Sample rate in Hz.
        channels: Number of channels.
        max_block_samples: Length of the longest frame in samples per channel.
        is_fixed: Whether all frames but the last have the length `max_block_samples`.
        max_frame_bytes: Size of the largest frame in bytes; 0 if unknown.
        n_samples: Number of samples per channel in the stream; 0 if unknown.
        header: First `STREAM_BYTES` of the file, which hold the block.
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
    """The header of a FLAC frame.

    Attributes:
        first: Index in the stream of the frame's first sample.
        n_samples: Number of samples per channel in the frame.
    """

    first: int
    n_samples: int

    @property
    def end(self) -> int:
        """Index in the stream of the sample after the frame's last one."""
        return self.first + self.n_samples


def read_streaminfo(header: bytes) -> FlacStream | None:
    """Parse the STREAMINFO block of a FLAC; None if the bytes are not the beginning of one.

    Args:
        header: First `STREAM_BYTES` of the file.
    """
    if len(header) < STREAM_BYTES or not header.startswith(SIGNATURES):
        return None
    packed = int.from_bytes(header[18:26], "big")
    shortest, longest = int.from_bytes(header[8:10], "big"), int.from_bytes(header[10:12], "big")
    return FlacStream(
        packed >> 44,
        (packed >> 41 & 7) + 1,
        longest,
        shortest == longest,
        int.from_bytes(header[15:18], "big"),
        packed & _TOTAL_MASK,
        header,
    )


def replace_sample_count(header: bytes, n_samples: int) -> bytes:
    """Return a FLAC header with another number of samples in STREAMINFO.

    Args:
        header: First `STREAM_BYTES` of the file.
        n_samples: New number of samples per channel.
    """
    packed = int.from_bytes(header[_TOTAL_AT : _TOTAL_AT + 5], "big") & ~_TOTAL_MASK
    total = (packed | n_samples & _TOTAL_MASK).to_bytes(5, "big")
    return header[:_TOTAL_AT] + total + header[_TOTAL_AT + 5 :]


def read_frame(header: bytes, stream: FlacStream) -> FlacFrame | None:
    """Parse a frame header; None if the bytes are not the header of a frame of this stream.

    Args:
        header: First `MAX_FRAME_HEADER_BYTES` of the frame; fewer at the end of a file.
        stream: STREAMINFO of the file.
    """
    if len(header) < 6 or header[0] != 0xFF or header[1] & 0xFE != 0xF8 or header[3] & 1:
        return None
    size_code, rate_code, channel_code = header[2] >> 4, header[2] & 15, header[3] >> 4
    channels = channel_code + 1 if channel_code < 8 else 2
    number = _decode_number(header[4:11])
    if size_code == 0 or channel_code > 10 or channels != stream.channels or number is None:
        return None
    value, at = number[0], 4 + number[1]
    n_size = {6: 1, 7: 2}.get(size_code, 0)
    n_rate = {_KHZ_8_BIT: 1, _HZ_16_BIT: 2, _TENS_OF_HZ_16_BIT: 2}.get(rate_code, 0)
    end = at + n_size + n_rate
    if len(header) <= end or _crc8(header[:end]) != header[end]:
        return None
    n_samples = _block_samples(size_code, int.from_bytes(header[at : at + n_size], "big"))
    rate = int.from_bytes(header[at + n_size : end], "big")
    if (
        _rate_hz(rate_code, rate, stream) != stream.sample_rate_hz
        or n_samples > stream.max_block_samples
    ):
        return None
    is_sample_number = bool(header[1] & 1)
    return FlacFrame(value if is_sample_number else value * stream.max_block_samples, n_samples)


def iter_frames_backwards(content: bytes, stream: FlacStream) -> Iterator[tuple[int, FlacFrame]]:
    """Yield the frames in a part of a file, each as its index and its header, the last first.

    Args:
        content: Part of a FLAC.
        stream: STREAMINFO of the file.
    """
    sync_indices = [found.start() for found in _SYNC.finditer(content)]
    for at in itertools.islice(reversed(sync_indices), _MAX_SYNCS):
        if frame := read_frame(content[at : at + MAX_FRAME_HEADER_BYTES], stream):
            yield at, frame


def find_next_frame(content: bytes, at: int, stream: FlacStream) -> tuple[int, FlacFrame | None]:
    """Return the index and the header of the first frame at or after an index.

    Args:
        content: Part of a FLAC.
        at: Index in `content` to search from.
        stream: STREAMINFO of the file.

    Returns:
        (index, frame), or (-1, None) if no frame is found.
    """
    for found in itertools.islice(_SYNC.finditer(content, at), _MAX_SYNCS):
        at = found.start()
        if frame := read_frame(content[at : at + MAX_FRAME_HEADER_BYTES], stream):
            return at, frame
    return -1, None


def _decode_number(coded: bytes) -> tuple[int, int] | None:
    """Decode a number in UTF-8-like coding, and return it with its length in bytes."""
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


def _block_samples(code: int, extra: int) -> int:
    """Return the number of samples of a frame, given its code and the value of its extra bytes."""
    if code == 1:
        return 192
    if code < 6:
        return 576 << (code - 2)
    return extra + 1 if code < 8 else 256 << (code - 8)


def _rate_hz(code: int, extra: int, stream: FlacStream) -> int | None:
    """Return the sample rate of a frame in Hz, given its code and the value of its extra bytes."""
    if code == _STREAM_RATE:
        return stream.sample_rate_hz
    if code == _KHZ_8_BIT:
        return 1000 * extra
    if code in (_HZ_16_BIT, _TENS_OF_HZ_16_BIT):
        return extra * (10 if code == _TENS_OF_HZ_16_BIT else 1)
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

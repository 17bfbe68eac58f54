"""Parsers of frame headers in files without a container: AAC, AC-3, AMR and MPEG Layer I and II.

Each parser takes bytes of a file and the index of a header in them. It returns the size of the
frame in bytes and the number of samples per channel that it decodes to, or (0, 0) if no frame
begins at the index. The specifications are ISO 13818-7 (ADTS), ETSI TS 102 366 (AC-3), RFC 4867
(AMR) and ISO 11172-3 (MPEG audio).
"""

from collections.abc import Callable
from dataclasses import dataclass

FrameParser = Callable[[bytes, int], tuple[int, int]]
_NO_FRAME = (0, 0)
_ADTS_RATES_HZ = (
    *(96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000),
    *(22_050, 16_000, 12_000, 11_025, 8_000, 7_350),
)
_AC3_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_AC3_RATES_HZ = (48_000, 44_100, 32_000)
_AC3_BLOCK = 256
_EAC3_BLOCKS = (1, 2, 3, 6)
_AMR_NB = (13, 14, 16, 18, 20, 21, 27, 32, 6, 0, 0, 0, 0, 0, 1, 1)
_AMR_WB = (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1)
"""Sizes of a frame in bytes by its type, including the header; 0 for a reserved type."""
_AMR_PADDING = 0x83
_MPEG_RATES_HZ = {
    3: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}
_MPEG1, _LAYER_I, _LAYER_II = 3, 3, 2
_KBPS = {
    (True, _LAYER_I): tuple(range(0, 449, 32)),
    (True, _LAYER_II): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (False, _LAYER_I): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, _LAYER_II): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def adts_frame(content: bytes, at: int) -> tuple[int, int]:
    """Return the size and the number of samples of an ADTS frame (AAC)."""
    header = content[at : at + 7]
    if (
        len(header) < 7
        or header[0] != 0xFF
        or header[1] & 0xF6 != 0xF0
        or header[2] & 0x3C > 12 << 2
    ):
        return _NO_FRAME
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return (size, 1024 * ((header[6] & 3) + 1)) if size > 7 else _NO_FRAME


def adts_rate_hz(content: bytes, at: int) -> int:
    """Return the sample rate in an ADTS header in Hz; AAC with SBR decodes to twice this rate."""
    return _ADTS_RATES_HZ[content[at + 2] >> 2 & 0xF]


def ac3_frame(content: bytes, at: int) -> tuple[int, int]:
    """Return the size and the number of samples of an AC-3 or E-AC-3 frame."""
    header = content[at : at + 6]
    if len(header) < 6 or header[0] != 0x0B or header[1] != 0x77:
        return _NO_FRAME
    rate, stream_id = header[4] >> 6, header[5] >> 3
    if 10 < stream_id <= 16:
        size = 2 * (((header[2] & 7) << 8 | header[3]) + 1)
        blocks = 6 if rate == 3 else _EAC3_BLOCKS[header[4] >> 4 & 3]
        # A dependent substream adds channels to samples that are already counted.
        is_dependent = header[2] >> 6 == 1
        return size, 0 if is_dependent else _AC3_BLOCK * blocks
    code = header[4] & 0x3F
    if stream_id > 10 or rate == 3 or code >= 2 * len(_AC3_KBPS):
        return _NO_FRAME
    words = _AC3_KBPS[code // 2] * 96_000 // _AC3_RATES_HZ[rate]
    padding = code & 1 if rate == 1 else 0
    return 2 * (words + padding), 6 * _AC3_BLOCK


def amr_nb_frame(content: bytes, at: int) -> tuple[int, int]:
    """Return the size and the number of samples of an AMR frame."""
    return _amr_frame(content, at, _AMR_NB, 160)


def amr_wb_frame(content: bytes, at: int) -> tuple[int, int]:
    """Return the size and the number of samples of an AMR-WB frame."""
    return _amr_frame(content, at, _AMR_WB, 320)


def _amr_frame(content: bytes, at: int, sizes: tuple[int, ...], n_samples: int) -> tuple[int, int]:
    if at >= len(content) or content[at] & _AMR_PADDING:
        return _NO_FRAME
    size = sizes[content[at] >> 3]
    # Zeros after the audio look like frames of the lowest bit rate that are marked as damaged.
    if not content[at] and not any(content[at : at + size]):
        return _NO_FRAME
    return (size, n_samples) if size else _NO_FRAME


def mpeg_frame(content: bytes, at: int) -> tuple[int, int]:
    """Return the size and the number of samples of a frame of MPEG audio, Layer I or II."""
    header = content[at : at + 4]
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return _NO_FRAME
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    kbps, rate = header[2] >> 4, header[2] >> 2 & 3
    rates_hz = _MPEG_RATES_HZ.get(version)
    if rates_hz is None or layer not in (_LAYER_I, _LAYER_II) or not 0 < kbps < 15 or rate > 2:
        return _NO_FRAME
    bit_rate = 1000 * _KBPS[version == _MPEG1, layer][kbps]
    padding = header[2] >> 1 & 1
    if layer == _LAYER_I:
        return 4 * (12 * bit_rate // rates_hz[rate] + padding), 384
    return 144 * bit_rate // rates_hz[rate] + padding, 1152


@dataclass(frozen=True, slots=True)
class BareFormat:
    """A format whose files are a sequence of frames without a container.

    Attributes:
        parse_frame: Parser of a frame header. Takes bytes and an index, and returns the size of
            the frame in bytes and its number of samples, or (0, 0).
        header_bytes: Number of header bytes that `parse_frame` needs.
        magic: First bytes of the file, before the first frame.
        sync: First byte of every header; empty if headers have no fixed first byte.
        mask: Bits of a header that are equal in all frames of a file.
        min_run: Number of consecutive frames that identify the format.
        rate_hz: Parser of the sample rate in Hz, with the arguments of `parse_frame`; None if the
            decoded audio always has the rate of the header.
    """

    parse_frame: FrameParser
    header_bytes: int
    magic: bytes = b""
    sync: bytes = b""
    mask: bytes = b""
    min_run: int = 2
    rate_hz: Callable[[bytes, int], int] | None = None


BARE_FORMATS = (
    BareFormat(adts_frame, 7, sync=b"\xff", mask=b"\xff\xfe\xfc", rate_hz=adts_rate_hz),
    BareFormat(ac3_frame, 6, sync=b"\x0b", mask=b"\xff\xff\x00\x00\xc0\xf8"),
    BareFormat(amr_nb_frame, 1, magic=b"#!AMR\n", min_run=8),
    BareFormat(amr_wb_frame, 1, magic=b"#!AMR-WB\n", min_run=8),
    BareFormat(mpeg_frame, 4, sync=b"\xff", mask=b"\xff\xfe\x0c"),
)

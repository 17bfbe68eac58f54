"""Headers of frames without a container around them: AAC, AC-3, AMR and MPEG audio I and II.

Each function takes bytes of a file and the index of a header among them, and returns the size of
the frame and how many samples it decodes to, or (0, 0) where no frame begins. The formats are those
of ISO 13818-7 (ADTS), ETSI TS 102 366, RFC 4867 and ISO 11172-3.
"""

from collections.abc import Callable
from dataclasses import dataclass

FrameSize = Callable[[bytes, int], tuple[int, int]]
_NONE = (0, 0)
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
"""Bytes of a frame by its type, the header among them."""
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
    """Return size and samples of a frame of AAC in ADTS."""
    head = content[at : at + 7]
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] & 0x3C > 12 << 2:
        return _NONE
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return (size, 1024 * ((head[6] & 3) + 1)) if size > 7 else _NONE


def adts_rate_hz(content: bytes, at: int) -> int:
    """Return the sample rate that a header of ADTS tells; AAC with SBR decodes to twice as much."""
    return _ADTS_RATES_HZ[content[at + 2] >> 2 & 0xF]


def ac3_frame(content: bytes, at: int) -> tuple[int, int]:
    """Return size and samples of a frame of AC-3 or E-AC-3."""
    head = content[at : at + 6]
    if len(head) < 6 or head[0] != 0x0B or head[1] != 0x77:
        return _NONE
    rate, stream = head[4] >> 6, head[5] >> 3
    if 10 < stream <= 16:
        size = 2 * (((head[2] & 7) << 8 | head[3]) + 1)
        blocks = 6 if rate == 3 else _EAC3_BLOCKS[head[4] >> 4 & 3]
        # A dependent stream has more channels of the same samples.
        is_dependent = head[2] >> 6 == 1
        return size, 0 if is_dependent else _AC3_BLOCK * blocks
    code = head[4] & 0x3F
    if stream > 10 or rate == 3 or code >= 2 * len(_AC3_KBPS):
        return _NONE
    words = _AC3_KBPS[code // 2] * 96_000 // _AC3_RATES_HZ[rate]
    padding = code & 1 if rate == 1 else 0
    return 2 * (words + padding), 6 * _AC3_BLOCK


def amr_nb_frame(content: bytes, at: int) -> tuple[int, int]:
    """Return size and samples of a frame of AMR."""
    return _amr(content, at, _AMR_NB, 160)


def amr_wb_frame(content: bytes, at: int) -> tuple[int, int]:
    """Return size and samples of a frame of AMR-WB."""
    return _amr(content, at, _AMR_WB, 320)


def _amr(content: bytes, at: int, sizes: tuple[int, ...], n_samples: int) -> tuple[int, int]:
    if at >= len(content) or content[at] & _AMR_PADDING:
        return _NONE
    size = sizes[content[at] >> 3]
    # Zeros behind the audio look like frames of the lowest rate that are marked as damaged.
    if not content[at] and not any(content[at : at + size]):
        return _NONE
    return (size, n_samples) if size else _NONE


def mpeg_frame(content: bytes, at: int) -> tuple[int, int]:
    """Return size and samples of a frame of MPEG audio, Layer I or II."""
    head = content[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return _NONE
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    kbps, rate = head[2] >> 4, head[2] >> 2 & 3
    rates_hz = _MPEG_RATES_HZ.get(version)
    if rates_hz is None or layer not in (_LAYER_I, _LAYER_II) or not 0 < kbps < 15 or rate > 2:
        return _NONE
    bit_rate = 1000 * _KBPS[version == _MPEG1, layer][kbps]
    padding = head[2] >> 1 & 1
    if layer == _LAYER_I:
        return 4 * (12 * bit_rate // rates_hz[rate] + padding), 384
    return 144 * bit_rate // rates_hz[rate] + padding, 1152


@dataclass(frozen=True, slots=True)
class BareFormat:
    """A format of frames that follow one another.

    Attributes:
        frame: Size and samples of the frame whose header stands somewhere.
        header_bytes: Bytes that `frame` looks at.
        magic: First bytes of the file, before the first frame.
        sync: First byte of each header; empty where it is none that could be searched for.
        mask: Bits of a header that are the same in all frames of a file.
        n_alike: How many frames must follow one another where nothing else marks them.
        rate_hz: Sample rate that a header tells, where what is decoded may have another one.
    """

    parse_frame: FrameSize
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

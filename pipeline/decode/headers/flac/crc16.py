"""A check of the CRC-16 at the end of each FLAC frame (polynomial 0x8005; RFC 9639, section 9.3).

The standard library has other polynomials only. A Python loop over bytes takes milliseconds per
frame, so 16-bit words of a frame are combined in pairs, with tables that are computed once.
"""

import numpy as np
import numpy.typing as npt

_POLYNOMIAL = 0x8005
_TABLES: list[npt.NDArray[np.uint16]] = []


def has_valid_crc16(frame: bytes) -> bool:
    """Return whether the last two bytes of a frame are the CRC-16 of the bytes before them.

    Args:
        frame: Bytes of the frame, including the checksum.
    """
    # Leading zeros do not change a CRC, so the frame may be padded to whole words. The remainder
    # of an intact frame with its checksum is 0.
    words = np.frombuffer(b"\0" * (len(frame) % 2) + frame, ">u2").astype(np.uint16)
    level = 0
    while len(words) > 1:
        if len(words) % 2:
            words = np.concatenate([np.zeros(1, np.uint16), words])
        words = _multiples(level)[words[0::2]] ^ words[1::2]
        level += 1
    return len(words) == 1 and int(words[0]) == 0


def _multiples(level: int) -> npt.NDArray[np.uint16]:
    """Return a table of every 16-bit word times x ** (16 * 2 ** level), modulo the polynomial."""
    if not _TABLES:
        words = np.arange(1 << 16, dtype=np.int64)
        for _ in range(16):
            words = np.where(words & 0x8000, words << 1 ^ (0x10000 | _POLYNOMIAL), words << 1)
        _TABLES.append(words.astype(np.uint16))
    while len(_TABLES) <= level:
        _TABLES.append(_TABLES[-1][_TABLES[-1]])
    return _TABLES[level]

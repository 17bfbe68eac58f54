"""The checksum that closes each frame of a FLAC: CRC-16 with polynomial 0x8005 (RFC 9639, 9.3).

The standard library has other polynomials only. A loop over bytes takes milliseconds for a frame,
so the words of a frame are folded in pairs, by tables that are made once.
"""

import numpy as np
import numpy.typing as npt

_POLYNOMIAL = 0x8005
_TABLES: list[npt.NDArray[np.uint16]] = []


def has_valid_crc16(frame: bytes) -> bool:
    """Return whether bytes end with the CRC-16 of the bytes before.

    Args:
        frame: The bytes, with the checksum.
    """
    # Zeros in front change nothing. With its checksum behind, a sound frame leaves no remainder.
    words = np.frombuffer(b"\0" * (len(frame) % 2) + frame, ">u2").astype(np.uint16)
    level = 0
    while len(words) > 1:
        if len(words) % 2:
            words = np.concatenate([np.zeros(1, np.uint16), words])
        words = _table(level)[words[0::2]] ^ words[1::2]
        level += 1
    return len(words) == 1 and int(words[0]) == 0


def _table(level: int) -> npt.NDArray[np.uint16]:
    """Return each word times x to the power of 16 * 2 ** level, modulo the polynomial."""
    if not _TABLES:
        words = np.arange(1 << 16, dtype=np.int64)
        for _ in range(16):
            words = np.where(words & 0x8000, words << 1 ^ (0x10000 | _POLYNOMIAL), words << 1)
        _TABLES.append(words.astype(np.uint16))
    while len(_TABLES) <= level:
        _TABLES.append(_TABLES[-1][_TABLES[-1]])
    return _TABLES[level]

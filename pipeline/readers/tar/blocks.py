"""Blocks and numbers of a tar, with limits on both."""

import re
import tarfile
from typing import Protocol

BLOCK = 512
_MOST_BYTES = 1 << 62
_NUMBER = re.compile(rb"\d{1,19}")
Extents = tuple[tuple[int, int], ...]


class HeaderStream(Protocol):
    """What headers are read from."""

    @property
    def at(self) -> int:
        """Offset in the tar of the byte that is read next."""

    def read(self, n_bytes: int) -> bytes:
        """Return `n_bytes`, or fewer at the end of the tar."""


def _number(text: bytes, what: str) -> int:
    if not _NUMBER.fullmatch(text.strip()):
        raise tarfile.ReadError(f"a {what} of {text[:20]!r}")
    number = int(text)
    _check_size(number)
    return number


def _check_size(size: int) -> None:
    if not 0 <= size <= _MOST_BYTES:
        raise tarfile.ReadError(f"a size of {size} bytes")


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK

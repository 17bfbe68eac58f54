"""A file that says it is far longer than it is, for a decoder that stops where it takes the end.

libsndfile makes the length of an MP3 out of its size and the bit rate of its first frames, and
reads no further. Of this file that length is beyond all that there is, so that it reads until there
is nothing more.
"""

import io
import os
from typing import BinaryIO

_FAR_BYTES = 1 << 40
_LAST_BYTES = 128
"""At the end of its file libmpg123 looks for a tag of this size, and gives up where it cannot."""


class Endless(io.RawIOBase):
    """A file without its end; it has no descriptor.

    Args:
        file: opened for reading; its position is moved. It stays open.
        end: of what is there to be read, in bytes.
    """

    def __init__(self, file: BinaryIO, end: int) -> None:
        # What is buffered is forgotten by this: a decoder may have moved the descriptor below it.
        file.seek(0, os.SEEK_END)
        self._file = file
        self._end = end
        self._size = end + _FAR_BYTES
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Offset of the byte that is read next."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go somewhere; at most to the start, as C could not be told of an error."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Fill a buffer, as far as there is something to fill it with."""
        if self._at >= self._size - _LAST_BYTES:
            content = bytes(max(0, min(len(buffer), self._size - self._at)))
        else:
            self._file.seek(self._at)
            content = self._file.read(max(0, min(len(buffer), self._end - self._at)))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

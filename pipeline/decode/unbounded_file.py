"""A virtual file that seems to have no end, for libsndfile, which stops at an estimated end.

libsndfile estimates the length of an MP3 from its size and the bit rate of its first frames, and
reads no further. The size of this file makes that estimate very long, so libsndfile reads until no
more bytes come.
"""

import os
from typing import BinaryIO

from pipeline.io.virtual_file import VirtualFile

_EXTRA_BYTES = 1 << 40
"""Number of bytes by which the virtual file is longer than its content."""
_TAG_BYTES = 128
"""Size of the tag that libmpg123 reads at the end of a file, in bytes; it fails without them."""


class UnboundedFile(VirtualFile):
    """A virtual file that holds a range of a real file and seems to be 1 TiB longer.

    It has no descriptor.

    Args:
        file: File opened for reading; its position is moved. It is not closed.
        end: Offset in the real file after the last byte of the range.
        start: Offset in the real file of the first byte of the range.
    """

    def __init__(self, file: BinaryIO, end: int, start: int = 0) -> None:
        # This empties the buffer, because a decoder may have moved the descriptor.
        file.seek(0, os.SEEK_END)
        super().__init__(end - start + _EXTRA_BYTES)
        self._file = file
        self._start = start
        self._end = end

    def content(self, start: int, n_bytes: int) -> bytes:
        """Return bytes of the range, nothing after its end, and zeros for the last 128 bytes."""
        if start >= self.size - _TAG_BYTES:
            return bytes(max(0, min(n_bytes, self.size - start)))
        start += self._start
        self._file.seek(start)
        return self._file.read(max(0, min(n_bytes, self._end - start)))

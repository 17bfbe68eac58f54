"""A file that seems to have no end, for a decoder that estimates the end and stops there.

libsndfile estimates the length of an MP3 from its size and the bit rate of its first frames, and
reads no further. The size of this file makes that estimate very long, so libsndfile reads until no
more bytes come.
"""

import os
from typing import BinaryIO

from pipeline.io.virtual_file import VirtualFile

_FAR_BYTES = 1 << 40
_LAST_BYTES = 128
"""Size of the tag that libmpg123 reads at the end of a file; it fails if it cannot."""


class UnboundedFile(VirtualFile):
    """A file without its end; it has no descriptor.

    Args:
        file: File opened for reading; its position is moved. It stays open.
        end: Offset after the last byte that is read.
        start: Offset of the first byte that is read.
    """

    def __init__(self, file: BinaryIO, end: int, start: int = 0) -> None:
        # This empties the buffer, because a decoder may have moved the descriptor.
        file.seek(0, os.SEEK_END)
        super().__init__(end - start + _FAR_BYTES)
        self._file = file
        self._start = start
        self._end = end

    def content(self, start: int, n_bytes: int) -> bytes:
        """Return the file's bytes up to `end`, then nothing, then zeros in the last 128 bytes."""
        if start >= self.size - _LAST_BYTES:
            return bytes(max(0, min(n_bytes, self.size - start)))
        start += self._start
        self._file.seek(start)
        return self._file.read(max(0, min(n_bytes, self._end - start)))

"""A file that says it is far longer than it is, for a decoder that stops where it takes the end.

libsndfile makes the length of an MP3 out of its size and the bit rate of its first frames, and
reads no further. Of this file that length is beyond all that there is, so that it reads until there
is nothing more.
"""

import os
from typing import BinaryIO

from pipeline.io.virtual_file import VirtualFile

_FAR_BYTES = 1 << 40
_LAST_BYTES = 128
"""At the end of its file libmpg123 looks for a tag of this size, and gives up where it cannot."""


class UnboundedFile(VirtualFile):
    """A file without its end; it has no descriptor.

    Args:
        file: opened for reading; its position is moved. It stays open.
        end: of what is there to be read, in bytes.
        start: Offset of the first byte that is read; what comes before it is left out.
    """

    def __init__(self, file: BinaryIO, end: int, start: int = 0) -> None:
        # What is buffered is forgotten by this: a decoder may have moved the descriptor below it.
        file.seek(0, os.SEEK_END)
        super().__init__(end - start + _FAR_BYTES)
        self._file = file
        self._start = start
        self._end = end

    def content(self, start: int, n_bytes: int) -> bytes:
        """Of the file, up to where it is to end; nothing behind that, but zeros at the very end."""
        if start >= self.size - _LAST_BYTES:
            return bytes(max(0, min(n_bytes, self.size - start)))
        start += self._start
        self._file.seek(start)
        return self._file.read(max(0, min(n_bytes, self._end - start)))

"""A virtual file that puts a new header in front of a range of another file.

Decoders trust the length in a header, even if the header is unfinished or counts too little or too
much. With an overlay, the decoder reads a corrected header and then the original audio.
"""

import os
from typing import BinaryIO

from pipeline.io.virtual_file import VirtualFile


class Overlay(VirtualFile):
    """A read-only file of a new header and a range of another file. It has no file descriptor.

    Args:
        file: File opened for reading; its position is moved. It is not closed.
        header: New first bytes.
        start: Offset in `file` of the first byte after the header.
        end: Offset in `file` after the last byte of the range.
    """

    def __init__(self, file: BinaryIO, header: bytes, start: int, end: int) -> None:
        # This seek discards Python's read buffer, which is stale if a decoder has moved the
        # descriptor.
        file.seek(0, os.SEEK_END)
        super().__init__(len(header) + max(0, end - start))
        self._file = file
        self._header = header
        self._start = start

    def content(self, start: int, n_bytes: int) -> bytes:
        """Return bytes from an offset on; fewer at the end of the header or of the file.

        Args:
            start: Offset of the first byte.
            n_bytes: Maximum number of bytes.
        """
        n_bytes = max(0, min(n_bytes, self.size - start))
        if start < len(self._header):
            return self._header[start : start + n_bytes]
        self._file.seek(self._start + start - len(self._header))
        return self._file.read(n_bytes)

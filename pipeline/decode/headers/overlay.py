"""A part of a file under another header, for decoders that believe what a header says.

Headers that were never finished, or that count too little or too much, are corrected, and the
decoder reads the corrected file as it reads any other.
"""

import os
from typing import BinaryIO

from pipeline.io.virtual_file import VirtualFile


class Overlay(VirtualFile):
    """New first bytes, and then a range of another file; it has no descriptor.

    Args:
        file: File opened for reading; its position is moved. It stays open.
        head: The new first bytes.
        start: Offset in the file from which its bytes follow.
        end: Offset in the file after the last of them.
    """

    def __init__(self, file: BinaryIO, head: bytes, start: int, end: int) -> None:
        # What is buffered is forgotten by this: a decoder may have moved the descriptor below it.
        file.seek(0, os.SEEK_END)
        super().__init__(len(head) + max(0, end - start))
        self._file = file
        self._head = head
        self._start = start

    def content(self, start: int, n_bytes: int) -> bytes:
        """Return the bytes from an offset on, up to the end of the range."""
        n_bytes = max(0, min(n_bytes, self.size - start))
        if start < len(self._head):
            return self._head[start : start + n_bytes]
        self._file.seek(self._start + start - len(self._head))
        return self._file.read(n_bytes)

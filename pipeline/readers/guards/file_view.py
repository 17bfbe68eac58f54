"""The base of views on a file that watch what Arrow reads."""

from typing import Any


class FileView:
    """A view of a file that stays open when the view is closed.

    Args:
        file: File opened for reading, or another view.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self.seek, self.tell, self.readable = file.seek, file.tell, file.readable
        self.seekable = file.seekable
        self.closed = False

    def close(self) -> None:
        """Leave the file open, which Arrow would close."""
        self.closed = True

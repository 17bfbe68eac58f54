"""Base class of virtual files: bytes from any origin that decoders read like a file on disk."""

import abc
import io


class VirtualFile(io.RawIOBase, abc.ABC):
    """A seekable, read-only file without a file descriptor, whose bytes a subclass supplies.

    Args:
        size: Size in bytes.

    Attributes:
        size: Size in bytes, which `SEEK_END` is relative to.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._position = 0

    @abc.abstractmethod
    def content(self, start: int, n_bytes: int) -> bytes:
        """Return up to `n_bytes` bytes from an offset; no bytes mean the end of the file.

        It must not raise an error if a C library reads the file.
        """

    def readable(self) -> bool:
        """Return True, as the file can be read."""
        return True

    def seekable(self) -> bool:
        """Return True, as any offset can be read."""
        return True

    def tell(self) -> int:
        """Return the offset of the next byte to read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to an offset, or to 0 if it is negative, as C callers cannot receive an error."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Read into a buffer until it is full or no more bytes follow; return how many it read."""
        content = self.content(self._position, len(buffer))
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

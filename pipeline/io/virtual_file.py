"""Files that are no files: bytes that somebody finds, read by decoders as if they lay on a disk."""

import abc
import io


class VirtualFile(io.RawIOBase, abc.ABC):
    """A file to be read, without a descriptor.

    Args:
        size: that it says it has, in bytes.

    Attributes:
        size: the same.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._at = 0

    @abc.abstractmethod
    def content(self, start: int, n_bytes: int) -> bytes:
        """What there is from an offset on, up to so many bytes.

        Read through C it must raise nothing.
        """

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
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Fill a buffer, as far as there is something to fill it with."""
        content = self.content(self._at, len(buffer))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

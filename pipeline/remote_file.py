"""A remote file to read from anywhere in it, each range asked for until it comes whole."""

import io
from collections.abc import Callable

BUFFER_BYTES = 1 << 20


def remote_file(
    size: int, fetch: Callable[[int, int], bytes], buffer_bytes: int = BUFFER_BYTES
) -> io.BufferedReader:
    """A file for reading.

    Args:
        size: in bytes.
        fetch: bytes from one offset to another, exactly.
        buffer_bytes: asked for at once where less is wanted.
    """
    return io.BufferedReader(_Ranges(size, fetch), buffer_bytes)


class _Ranges(io.RawIOBase):
    def __init__(self, size: int, fetch: Callable[[int, int], bytes]) -> None:
        self._size = size
        self._fetch = fetch
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"seek to {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        content = self._fetch(self._at, end)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

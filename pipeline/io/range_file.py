"""A seekable file over a remote object that fetches the ranges its reader needs.

For a reader that mostly reads from start to end, such as that of a tar, a thread can fetch the next
range while the previous one is decoded.
"""

import io
import threading
from collections.abc import Callable
from concurrent.futures import Future

from pipeline.io.virtual_file import VirtualFile

BUFFER_BYTES = 1 << 20

FetchRange = Callable[[int, int], bytes]


def open_range_file(
    size: int, fetch: FetchRange, buffer_bytes: int = BUFFER_BYTES, read_ahead: bool = False
) -> io.BufferedReader:
    """Open a seekable file whose content comes from a function.

    Args:
        size: Size of the file in bytes.
        fetch: Function that returns the bytes from one offset up to another, all of them.
        buffer_bytes: Size of the buffer, and so the smallest range that is fetched.
        read_ahead: Whether to fetch the next range in another thread during sequential reads.
    """
    return io.BufferedReader(
        _RangeFile(size, fetch, buffer_bytes if read_ahead else 0), buffer_bytes
    )


class _RangeFile(VirtualFile):
    def __init__(self, size: int, fetch: FetchRange, read_ahead_bytes: int) -> None:
        super().__init__(size)
        self._fetch = fetch
        self._read_ahead_bytes = read_ahead_bytes
        self._last_end = -1  # end of the last range that was read
        self._ahead: tuple[int, int, Future[bytes]] | None = None

    def content(self, start: int, n_bytes: int) -> bytes:
        end = min(start + n_bytes, self.size)
        if end <= start:
            return b""
        content = self._read_range(start, end)
        is_next = start == self._last_end
        self._last_end = next_start = start + len(content)
        if is_next and self._read_ahead_bytes and next_start < self.size:
            next_end = min(next_start + self._read_ahead_bytes, self.size)
            self._start_fetching(next_start, next_end)
        return content

    def _read_range(self, start: int, end: int) -> bytes:
        """Return bytes from `start`, at least one and at most up to `end`."""
        fetched, self._ahead = self._ahead, None
        if fetched is None or fetched[0] != start or fetched[1] > end:
            return self._fetch(start, end)
        return fetched[2].result()

    def _start_fetching(self, start: int, end: int) -> None:
        future = Future[bytes]()

        def fetch() -> None:
            try:
                future.set_result(self._fetch(start, end))
            except BaseException as error:
                future.set_exception(error)

        # A daemon thread, so that waiting for an unavailable store does not keep the process alive.
        threading.Thread(target=fetch, daemon=True).start()
        self._ahead = start, end, future

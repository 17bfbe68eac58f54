"""A remote file to read from anywhere in it, each range asked for until it comes whole.

Whoever reads on where the last range ended, as a tar's reader does, can find the next one fetched
meanwhile: a thread asks for it while what came before is decoded.
"""

import io
import threading
from collections.abc import Callable
from concurrent.futures import Future

from pipeline.io.virtual_file import VirtualFile

BUFFER_BYTES = 1 << 20

FetchRange = Callable[[int, int], bytes]


def open_range_file(
    size: int, fetch: FetchRange, buffer_bytes: int = BUFFER_BYTES, reads_on: bool = False
) -> io.BufferedReader:
    """A file for reading.

    Args:
        size: in bytes.
        fetch: bytes from one offset to another, exactly.
        buffer_bytes: asked for at once where less is wanted.
        reads_on: it is mostly read from start to end: fetch the next range, in another thread.
    """
    return io.BufferedReader(_Ranges(size, fetch, buffer_bytes if reads_on else 0), buffer_bytes)


class _Ranges(VirtualFile):
    def __init__(self, size: int, fetch: FetchRange, most_ahead: int) -> None:
        super().__init__(size)
        self._fetch = fetch
        self._most_ahead = most_ahead
        self._last_end = -1  # of the range that was read last
        self._ahead: tuple[int, int, Future[bytes]] | None = None

    def content(self, start: int, n_bytes: int) -> bytes:
        end = min(start + n_bytes, self.size)
        if end <= start:
            return b""
        content = self._range(start, end)
        is_next = start == self._last_end
        self._last_end = at = start + len(content)
        if is_next and self._most_ahead and at < self.size:
            self._start(at, min(at + self._most_ahead, self.size))
        return content

    def _range(self, start: int, end: int) -> bytes:
        """Bytes from an offset on, no further than another."""
        ahead, self._ahead = self._ahead, None
        if ahead is None or ahead[0] != start or ahead[1] > end:
            return self._fetch(start, end)
        return ahead[2].result()

    def _start(self, start: int, end: int) -> None:
        coming = Future[bytes]()

        def fetch() -> None:
            try:
                coming.set_result(self._fetch(start, end))
            except BaseException as error:
                coming.set_exception(error)

        # A daemon: one that waits for a store that is down must not keep the process alive.
        threading.Thread(target=fetch, daemon=True).start()
        self._ahead = start, end, coming

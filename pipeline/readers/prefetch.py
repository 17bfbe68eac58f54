"""Prefetching: a few threads download remote clips ahead of the decoder.

Downloads ahead are bounded by number and by bytes. The clip that the decoder has opened is never
held back, so a large clip cannot block. Threads are enough, because they mostly wait.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import BinaryIO

from pipeline.clips import ClipRef
from pipeline.readers.checks import check_size

Download = Callable[[ClipRef, Callable[[int], None]], BinaryIO]
"""Downloads a clip; calls the function with its size before the bytes are read."""

OpenDownload = Callable[[int], contextlib.AbstractContextManager[BinaryIO]]
"""Opens a file of up to the given number of bytes."""

N_THREADS = 8
N_AHEAD = 32
BYTES_AHEAD = 64 << 20


class _Closed(BaseException):
    """The download is no longer needed. Not an Exception, so that it is not retried."""


@dataclass
class Job:
    """The download of one clip."""

    ref: ClipRef
    file: Future[BinaryIO] = field(default_factory=Future)
    n_bytes: int = 0
    max_bytes: int | None = None  # known once the clip is opened
    is_over: bool = False


class Prefetcher:
    """A prefetcher, which downloads clips in the order of their `start`; close it.

    Args:
        fetch: Downloads a clip; is called in threads.
        n_threads: Largest number of threads.
        bytes_ahead: Largest number of bytes that wait for the decoder.
    """

    def __init__(
        self, fetch: Download, n_threads: int = N_THREADS, bytes_ahead: int = BYTES_AHEAD
    ) -> None:
        self._fetch = fetch
        self._n_threads = n_threads
        self._bytes_ahead = bytes_ahead
        self._todo: SimpleQueue[Job | None] = SimpleQueue()
        self._jobs: deque[Job] = deque()
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._held_bytes = 0

    def start(self, ref: ClipRef) -> Job:
        """Start the download of a clip."""
        job = Job(ref)
        self._jobs.append(job)
        if len(self._threads) < self._n_threads:
            # Daemons: one that waits for a store that is down must not keep the process alive.
            self._threads.append(threading.Thread(target=self._work, daemon=True))
            self._threads[-1].start()
        self._todo.put(job)
        return job

    @contextlib.contextmanager
    def turn(self, job: Job) -> Iterator[OpenDownload]:
        """Open a job as the function that opens its file, which is deleted afterwards."""
        try:
            yield lambda max_bytes: self._opened(job, max_bytes)
        finally:
            self._jobs.remove(job)
            self._let_go(job)

    @contextlib.contextmanager
    def _opened(self, job: Job, max_bytes: int) -> Iterator[BinaryIO]:
        with self._changed:
            job.max_bytes = max_bytes
            self._changed.notify_all()
        file = job.file.result()
        check_size(job.ref, max_bytes, job.n_bytes)
        file.seek(0)
        yield file

    def close(self) -> None:
        """Stop downloading, and delete what was downloaded."""
        for _ in self._threads:
            self._todo.put(None)
        while self._jobs:
            self._let_go(self._jobs.popleft())

    def _let_go(self, job: Job) -> None:
        # The callback runs at once if the download is done, otherwise in its thread.
        job.file.add_done_callback(_close)
        job.file.cancel()
        with self._changed:
            self._held_bytes -= job.n_bytes
            job.n_bytes, job.is_over = 0, True
            self._changed.notify_all()

    def _work(self) -> None:
        while job := self._todo.get():
            if not job.file.set_running_or_notify_cancel():
                continue
            try:
                job.file.set_result(self._fetch(job.ref, partial(self._admit, job)))
            except BaseException as error:
                job.file.set_exception(error)

    def _admit(self, job: Job, n_bytes: int) -> None:
        """Wait until there is room for a job's bytes, or the decoder has opened it."""

        def may_go() -> bool:
            ahead = self._held_bytes - job.n_bytes + n_bytes
            return job.is_over or job.max_bytes is not None or ahead <= self._bytes_ahead

        with self._changed:
            self._changed.wait_for(may_go)
            if job.is_over:
                raise _Closed
            if job.max_bytes is not None:
                check_size(job.ref, job.max_bytes, n_bytes)
            self._held_bytes += n_bytes - job.n_bytes
            job.n_bytes = n_bytes


def _close(file: Future[BinaryIO]) -> None:
    if not file.cancelled() and file.exception() is None:
        file.result().close()

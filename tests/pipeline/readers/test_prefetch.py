"""`pipeline.readers.prefetch`: in order, and never more ahead than allowed."""

import io
import threading
from concurrent import futures

import pytest

from pipeline.clips import ClipRef
from pipeline.errors import ClipError, StoreError
from pipeline.readers.prefetch import Prefetcher


class Fetch:
    """Fetches clips whose uri is their size; knows how many bytes it holds at most."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.held = self.most = 0
        self.admitted = threading.Event()

    def __call__(self, ref, admit):
        admit(int(ref.uri))
        with self.lock:
            self.held += int(ref.uri)
            self.most = max(self.most, self.held)
        self.admitted.set()
        fetch = self

        class File(io.BytesIO):
            def close(self) -> None:
                if not self.closed:
                    with fetch.lock:
                        fetch.held -= int(ref.uri)
                super().close()

        return File(bytes(int(ref.uri)))


def test_what_is_ahead_is_bounded_and_a_large_one_gets_its_turn():
    sizes = [3, 4, 50, 1, 9, 10, 2, 70, 5, 5, 1, 1] * 5
    fetch = Fetch()
    prefetcher = Prefetcher(fetch, n_threads=4, bytes_ahead=10)
    jobs = [prefetcher.start(ClipRef(str(size), "")) for size in sizes]
    read = []
    for job in jobs:
        with prefetcher.turn(job) as open_it, open_it(100) as file:
            read.append(len(file.read()))
    prefetcher.close()
    assert read == sizes
    # The one whose turn it is comes on top of the 10 bytes that are ahead.
    assert fetch.most <= 10 + max(sizes)
    assert fetch.held == 0


def test_what_is_larger_than_allowed_is_not_fetched():
    fetch = Fetch()
    prefetcher = Prefetcher(fetch, bytes_ahead=10)
    small, large = prefetcher.start(ClipRef("6", "")), prefetcher.start(ClipRef("50", ""))
    for job in (small, large):
        with (
            prefetcher.turn(job) as open_it,
            pytest.raises(ClipError, match="more than the 5"),
            open_it(5),
        ):
            pass
    prefetcher.close()
    assert fetch.most == 6


def test_what_waits_for_room_is_let_go_by_close():
    fetch = Fetch()
    prefetcher = Prefetcher(fetch, n_threads=2, bytes_ahead=10)
    jobs = [prefetcher.start(ClipRef(size, "")) for size in ("8", "9", "9")]
    assert fetch.admitted.wait(60)
    prefetcher.close()
    for job in jobs:
        futures.wait([job.file], 60)
    for thread in prefetcher._threads:
        thread.join(60)
        assert not thread.is_alive()
    assert fetch.held == 0


def test_what_goes_wrong_is_raised_where_the_clip_is_opened():
    def fetch(ref, admit):
        raise StoreError(f"{ref.uri} cannot be read")

    prefetcher = Prefetcher(fetch)
    job = prefetcher.start(ClipRef("a", ""))
    with prefetcher.turn(job) as open_it, pytest.raises(StoreError, match="a cannot"), open_it(100):
        pass
    prefetcher.close()

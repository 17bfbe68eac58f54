"""A line now and then while sources are listed, which takes minutes for millions of files."""

import contextlib
import threading
from collections.abc import Callable, Iterator

from jobs.runtime.run_log import RunLog
from pipeline.wording import count

FIRST_S = 2.0
EVERY_S = 10.0


@contextlib.contextmanager
def log_listing_progress(log: RunLog) -> Iterator[Callable[[], None]]:
    """Say within the block how many clips have been found, unless it ends soon.

    Args:
        log: Takes the lines.

    Yields:
        What to call for each clip that is found.
    """
    n_found = 0

    def on_found() -> None:
        nonlocal n_found
        n_found += 1

    ended = threading.Event()

    def tell() -> None:
        pause_s = FIRST_S
        while not ended.wait(pause_s):
            line = f"listing the sources: {count(n_found, 'clip')} found so far"
            log.report("phase", line, phase="listing", clips=n_found)
            pause_s = EVERY_S

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield on_found
    finally:
        ended.set()
        thread.join()

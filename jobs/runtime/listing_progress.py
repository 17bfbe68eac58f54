"""Progress lines while sources are listed, which takes minutes for millions of files."""

import contextlib
import threading
from collections.abc import Callable, Iterator

from jobs.runtime.run_log import RunLog
from pipeline.wording import count

FIRST_S = 2.0
"""Time until the first line, in seconds."""
EVERY_S = 10.0
"""Time between further lines, in seconds."""


@contextlib.contextmanager
def log_listing_progress(log: RunLog) -> Iterator[Callable[[], None]]:
    """Log the number of clips found so far at intervals within the block.

    Args:
        log: The run's log.

    Yields:
        A function to call for each clip found.
    """
    n_found = 0

    def on_found() -> None:
        nonlocal n_found
        n_found += 1

    ended = threading.Event()

    def log_count() -> None:
        pause_s = FIRST_S
        while not ended.wait(pause_s):
            line = f"listing the sources: {count(n_found, 'clip')} found so far"
            log.report("phase", line, phase="listing", clips=n_found)
            pause_s = EVERY_S

    thread = threading.Thread(target=log_count, daemon=True)
    thread.start()
    try:
        yield on_found
    finally:
        ended.set()
        thread.join()

"""What a run says while it lists sources."""

import io

from rich.console import Console

from jobs.runtime import listing_progress
from jobs.runtime.listing_progress import log_listing_progress
from jobs.runtime.run_log import RunLog
from tests.support import wait_until


def test_a_long_listing_says_how_many_clips_are_found(monkeypatch):
    monkeypatch.setattr(listing_progress, "FIRST_S", 0.01)
    out = io.StringIO()
    with log_listing_progress(RunLog(Console(file=out))) as on_found:
        for _ in range(1234):
            on_found()
        wait_until(lambda: "listing the sources: 1,234 clips found" in out.getvalue(), 20)


def test_a_short_listing_says_nothing():
    out = io.StringIO()
    with log_listing_progress(RunLog(Console(file=out))) as on_found:
        on_found()
    assert out.getvalue() == ""

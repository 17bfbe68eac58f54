"""Tests of the progress lines while sources are listed."""

import io

from rich.console import Console

from jobs.runtime import listing_progress
from jobs.runtime.listing_progress import log_listing_progress
from jobs.runtime.run_log import RunLog
from tests.support import wait_until


def test_long_listing_logs_the_number_of_clips_found(monkeypatch):
    monkeypatch.setattr(listing_progress, "FIRST_S", 0.01)
    out = io.StringIO()
    with log_listing_progress(RunLog(Console(file=out))) as on_found:
        for _ in range(1234):
            on_found()
        wait_until(lambda: "listing the sources: 1,234 clips found" in out.getvalue(), 20)


def test_short_listing_logs_nothing():
    out = io.StringIO()
    with log_listing_progress(RunLog(Console(file=out))) as on_found:
        on_found()
    assert out.getvalue() == ""

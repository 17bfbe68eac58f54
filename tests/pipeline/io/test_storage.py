"""Tests of `Storage.retry`: how long requests to an unavailable store are retried."""

import time

import pytest

from pipeline.errors import StoreError
from pipeline.io.storage import Storage


def test_retries_continue_until_the_timeout():
    start_s, attempts = time.monotonic(), []

    def fail() -> None:
        attempts.append(time.monotonic() - start_s)
        raise OSError("unavailable")

    with pytest.raises(StoreError, match=r"x: unavailable; tried for 0\.7 s"):
        Storage(timeout_s=0.7).retry("x", fail)
    assert attempts[-1] >= 0.7
    assert len(attempts) >= 4  # pauses of 0.1 to 0.2 s, of 0.2 to 0.4 s, and the rest


def test_timeout_of_zero_is_a_single_attempt():
    attempts = []
    with pytest.raises(StoreError):
        Storage(timeout_s=0).retry("x", lambda: attempts.append(1) or [][0])
    assert attempts == [1]

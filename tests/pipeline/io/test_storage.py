"""How long a store that is out of order is asked again."""

import time

import pytest

from pipeline.errors import StoreError
from pipeline.io.storage import Storage


def test_it_is_tried_until_the_very_end_of_its_time():
    began, tries = time.monotonic(), []

    def fails() -> None:
        tries.append(time.monotonic() - began)
        raise OSError("out of order")

    with pytest.raises(StoreError, match=r"x: out of order; tried for 0\.7 s"):
        Storage(timeout_s=0.7).retry("x", fails)
    assert tries[-1] >= 0.7
    assert len(tries) >= 4  # 0.1 to 0.2 s between them, then 0.2 to 0.4, and then what is left


def test_no_time_is_one_try():
    tries = []
    with pytest.raises(StoreError):
        Storage(timeout_s=0).retry("x", lambda: tries.append(1) or [][0])
    assert tries == [1]

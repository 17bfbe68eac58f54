"""How much time a run still needs."""

import pytest

from jobs.runtime.time_left import TimeLeft


def test_there_is_no_estimate_before_enough_is_known():
    time_left = TimeLeft()
    assert time_left.estimate(0.0, 100.0) is None  # 100 s to start Ray and load the model
    assert time_left.estimate(0.01, 120.0) is None  # the first batch
    assert time_left.estimate(0.05, 122.0) is None  # after 2 s
    assert time_left.estimate(0.06, 132.0) == pytest.approx(12 / 0.05 * 0.94)


def test_the_time_of_the_start_does_not_make_the_first_estimate_too_long():
    time_left = TimeLeft()
    time_left.estimate(0.1, 300.0)
    left_s = time_left.estimate(0.2, 320.0)
    assert left_s is not None
    assert abs(left_s - 160.0) < 1e-6


def test_a_very_long_run_gets_an_estimate_after_a_minute():
    time_left = TimeLeft()
    time_left.estimate(0.0001, 0.0)
    assert time_left.estimate(0.0002, 30.0) is None
    left_s = time_left.estimate(0.0003, 61.0)
    assert left_s is not None
    assert abs(left_s - 61 / 0.0002 * 0.9997) < 1


def test_a_share_that_falls_begins_again():
    time_left = TimeLeft()
    time_left.estimate(0.5, 0.0)
    assert time_left.estimate(0.3, 100.0) is None  # a shard was lost
    assert time_left.estimate(0.4, 200.0) == pytest.approx(100 / 0.1 * 0.6)


def test_a_run_that_is_done_has_no_time_left():
    time_left = TimeLeft()
    time_left.estimate(0.5, 0.0)
    assert time_left.estimate(1.0, 100.0) is None

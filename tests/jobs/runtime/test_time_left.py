"""Tests of the estimate of a run's remaining time."""

import pytest

from jobs.runtime.time_left import TimeLeft


def test_there_is_no_estimate_before_enough_is_done():
    time_left = TimeLeft()
    assert time_left.estimate(0.0, 100.0) is None  # 100 s to start Ray and load the model
    assert time_left.estimate(0.01, 120.0) is None  # the first batch
    assert time_left.estimate(0.05, 122.0) is None  # after 2 s
    assert time_left.estimate(0.06, 132.0) == pytest.approx(12 / 0.05 * 0.94)


def test_start_up_time_is_not_counted():
    time_left = TimeLeft()
    time_left.estimate(0.1, 300.0)
    left_s = time_left.estimate(0.2, 320.0)
    assert left_s is not None
    assert abs(left_s - 160.0) < 1e-6


def test_very_long_run_gets_an_estimate_after_a_minute():
    time_left = TimeLeft()
    time_left.estimate(0.0001, 0.0)
    assert time_left.estimate(0.0002, 30.0) is None
    left_s = time_left.estimate(0.0003, 61.0)
    assert left_s is not None
    assert abs(left_s - 61 / 0.0002 * 0.9997) < 1


def test_decreasing_share_restarts_the_estimate():
    time_left = TimeLeft()
    time_left.estimate(0.5, 0.0)
    assert time_left.estimate(0.3, 100.0) is None  # a shard was lost
    assert time_left.estimate(0.4, 200.0) == pytest.approx(100 / 0.1 * 0.6)


def test_finished_run_has_no_estimate():
    time_left = TimeLeft()
    time_left.estimate(0.5, 0.0)
    assert time_left.estimate(1.0, 100.0) is None

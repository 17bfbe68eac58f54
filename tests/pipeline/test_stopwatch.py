"""Tests of `pipeline.stopwatch`: each second belongs to at most one stage."""

import contextlib
import time

import pytest

from pipeline.stopwatch import STAGES, Stopwatch


@pytest.fixture
def advance_clock(monkeypatch):
    """A function that advances the clock of the stopwatch by a number of seconds."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def advance(seconds):
        now[0] += seconds

    return advance


def nonzero_seconds(watch):
    return {stage: seconds for stage, seconds in watch.seconds.items() if seconds}


def test_nested_stage_is_not_counted_twice(advance_clock):
    watch = Stopwatch()
    advance_clock(1)
    with watch.measure("compute"):
        advance_clock(2)
        with watch.measure("wait"):
            advance_clock(4)
        advance_clock(8)
    advance_clock(16)
    assert nonzero_seconds(watch) == {"compute": 10, "wait": 4}
    assert tuple(watch.seconds) == STAGES


def test_measure_each_counts_fetching_items_and_not_using_them(advance_clock):
    def items():
        for item in "ab":
            advance_clock(1)
            yield item
        advance_clock(10)

    watch, found = Stopwatch(), []
    with watch.measure("compute"):
        for item in watch.measure_each(items(), "wait"):
            advance_clock(100)
            found.append(item)
    assert found == ["a", "b"]
    assert nonzero_seconds(watch) == {"wait": 12, "compute": 200}


def test_measure_enter_counts_entering_and_not_the_block(advance_clock):
    @contextlib.contextmanager
    def open_file():
        advance_clock(3)
        yield "file"
        advance_clock(5)

    watch = Stopwatch()
    with watch.measure("decode"), watch.measure_enter(open_file(), "fetch") as file:
        advance_clock(7)
        assert file == "file"
    assert nonzero_seconds(watch) == {"fetch": 3, "decode": 12}


def test_error_ends_the_stage(advance_clock):
    watch = Stopwatch()

    def fail():
        with watch.measure("write"):
            advance_clock(1)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail()
    advance_clock(1)
    assert nonzero_seconds(watch) == {"write": 1}

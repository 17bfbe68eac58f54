"""`pipeline.stopwatch`: every second of a shard belongs to one stage."""

import contextlib
import time

import pytest

from pipeline.stopwatch import STAGES, Stopwatch


@pytest.fixture
def clock(monkeypatch):
    """A clock that is turned on by hand."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def turn(seconds):
        now[0] += seconds

    return turn


def told(watch):
    return {stage: seconds for stage, seconds in watch.seconds.items() if seconds}


def test_a_stage_within_another_is_not_counted_twice(clock):
    watch = Stopwatch()
    clock(1)
    with watch.during("compute"):
        clock(2)
        with watch.during("wait"):
            clock(4)
        clock(8)
    clock(16)
    assert told(watch) == {"compute": 10, "wait": 4}
    assert tuple(watch.seconds) == STAGES


def test_waiting_for_items_is_a_stage_and_using_them_is_not(clock):
    def items():
        for item in "ab":
            clock(1)
            yield item
        clock(10)

    watch, found = Stopwatch(), []
    with watch.during("compute"):
        for item in watch.each(items(), "wait"):
            clock(100)
            found.append(item)
    assert found == ["a", "b"]
    assert told(watch) == {"wait": 12, "compute": 200}


def test_entering_is_a_stage_and_the_block_is_not(clock):
    @contextlib.contextmanager
    def opened():
        clock(3)
        yield "file"
        clock(5)

    watch = Stopwatch()
    with watch.during("decode"), watch.entering(opened(), "fetch") as file:
        clock(7)
        assert file == "file"
    assert told(watch) == {"fetch": 3, "decode": 12}


def test_an_error_leaves_the_stage(clock):
    watch = Stopwatch()

    def fail():
        with watch.during("write"):
            clock(1)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail()
    clock(1)
    assert told(watch) == {"write": 1}

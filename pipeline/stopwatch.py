"""A stopwatch that measures how long each stage of a shard takes.

The stages of decoding are `fetch`, which opens files and waits for stores, and `decode`. The stages
of embedding are `wait`, for decoded audio, `compute`, and `write`. The wait for a model that other
shards share counts as `compute`.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

STAGES = ("fetch", "decode", "wait", "compute", "write")

T = TypeVar("T")


class Stopwatch:
    """A stopwatch that adds up seconds per stage; one stage runs at a time.

    Attributes:
        seconds: Seconds so far, per stage.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._stage = ""
        self._since = time.perf_counter()

    def switch(self, stage: str) -> str:
        """Switch to a stage, or to none for an empty name, and return the previous stage."""
        now = time.perf_counter()
        if self._stage:
            self.seconds[self._stage] += now - self._since
        previous, self._stage, self._since = self._stage, stage, now
        return previous

    @contextlib.contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Count the time within the block for a stage, then continue the previous stage."""
        previous = self.switch(stage)
        try:
            yield
        finally:
            self.switch(previous)

    def measure_each(self, items: Iterable[T], stage: str) -> Iterator[T]:
        """Yield the items, and count the time spent on fetching each of them for a stage."""
        iterator = iter(items)
        while True:
            with self.measure(stage):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    @contextlib.contextmanager
    def measure_enter(self, context: AbstractContextManager[T], stage: str) -> Iterator[T]:
        """Enter a context manager, and count only the time spent on entering for a stage."""
        with contextlib.ExitStack() as stack:
            with self.measure(stage):
                entered = stack.enter_context(context)
            yield entered

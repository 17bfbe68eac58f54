"""Where the time of a shard goes, by stage.

On the decode side `fetch` (a store's replies, opening) and `decode`; on the model's `wait` for what
is decoded, `compute` (with the wait for a model that others use as well) and `write`.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

STAGES = ("fetch", "decode", "wait", "compute", "write")

T = TypeVar("T")


class Stopwatch:
    """Adds up seconds by stage; one stage runs at a time.

    Attributes:
        seconds: so far, by stage.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._stage = ""
        self._since = time.perf_counter()

    def switch(self, stage: str) -> str:
        """Have another stage run, or none for an empty name; the one that ran."""
        now = time.perf_counter()
        if self._stage:
            self.seconds[self._stage] += now - self._since
        before, self._stage, self._since = self._stage, stage, now
        return before

    @contextlib.contextmanager
    def during(self, stage: str) -> Iterator[None]:
        """A stage runs within the block, and what ran before it afterwards."""
        before = self.switch(stage)
        try:
            yield
        finally:
            self.switch(before)

    def each(self, items: Iterable[T], stage: str) -> Iterator[T]:
        """The items; the stage runs while the next one is waited for."""
        rest = iter(items)
        while True:
            with self.during(stage):
                try:
                    item = next(rest)
                except StopIteration:
                    return
            yield item

    @contextlib.contextmanager
    def entering(self, context: AbstractContextManager[T], stage: str) -> Iterator[T]:
        """The context; the stage runs while it is entered."""
        with contextlib.ExitStack() as stack:
            with self.during(stage):
                entered = stack.enter_context(context)
            yield entered

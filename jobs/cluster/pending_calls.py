"""The calls to actors that are in flight, each with a callback for its result."""

import time
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import ray


class PendingCalls:
    """The calls in flight to all actors of a run."""

    def __init__(self) -> None:
        self._pending: dict[Any, tuple[Hashable, Callable[[Any], None]]] = {}

    def add(
        self, ref: Any, actor: Hashable, on_done: Callable[..., None], *arguments: object
    ) -> None:
        """Add a call, whose callback `wait` runs once the result is ready.

        Args:
            ref: Ray's reference to the result.
            actor: The actor that was called.
            on_done: Callback that receives the actor, `arguments` and the reference.
            arguments: Further arguments of the callback.
        """
        self._pending[ref] = actor, partial(on_done, actor, *arguments)

    def wait(self, timeout_s: float) -> None:
        """Wait up to `timeout_s` seconds for a result, and run the callbacks of ready results."""
        if not self._pending:
            time.sleep(timeout_s)
            return
        ready, _ = ray.wait(list(self._pending), num_returns=1, timeout=timeout_s)
        for ref in ready:
            _, on_done = self._pending.pop(ref)
            on_done(ref)

    def forget(self, actor: Hashable) -> None:
        """Drop the calls to an actor, so that their callbacks are not run."""
        for ref in [ref for ref, (called, _) in self._pending.items() if called is actor]:
            del self._pending[ref]

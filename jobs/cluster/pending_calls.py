"""Questions to actors that are under way, and what is to be done with the answers."""

import time
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import ray


class PendingCalls:
    """Waits for many answers in one place."""

    def __init__(self) -> None:
        self._awaited: dict[Any, tuple[Hashable, Callable[[Any], None]]] = {}

    def expect(self, ref: Any, actor: Hashable, take: Callable[..., None], *given: object) -> None:
        """Have an answer taken once it is there.

        Args:
            ref: of the answer.
            actor: who gives it.
            take: is given the actor, `given`, and the reference, which is ready then.
            given: what else it needs.
        """
        self._awaited[ref] = actor, partial(take, actor, *given)

    def wait(self, timeout_s: float) -> None:
        """Have the answers taken that are there; returns after `timeout_s` at the latest."""
        if not self._awaited:
            time.sleep(timeout_s)
            return
        ready, _ = ray.wait(list(self._awaited), num_returns=1, timeout=timeout_s)
        for ref in ready:
            _, take = self._awaited.pop(ref)
            take(ref)

    def forget(self, actor: Hashable) -> None:
        """Take no answer of an actor any more."""
        for ref in [ref for ref, (whose, _) in self._awaited.items() if whose is actor]:
            del self._awaited[ref]

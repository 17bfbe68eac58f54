"""Which actor gets which shard, and which of two tries of one shard may write.

Plain state: it knows nothing of Ray, and the time it is told, so that a cluster of many actors can
be played through in a test. Large shards come first, so that the small ones even out the end. What
is then left at an actor that is slower than all before is given to an idle one as well; the first
of the two that is through commits, and the other is not even asked.
"""

import math
from collections import deque
from collections.abc import Callable, Hashable, KeysView, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from jobs.cluster.shard_task import ShardTask
from pipeline.shards import Shard

SLOW = 2.0
"""A try that takes so many times what its size lets expect is a straggler."""
LEAST_SLOW_S = 10.0
"""No try is one before it has taken so long: starting anew costs something, too."""

A = TypeVar("A", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Attempt(Generic[A]):
    """A shard that an actor is at.

    Attributes:
        actor: which.
        work: the shard, with what it has been through.
        started_s: when it was given out.
    """

    actor: A
    work: ShardTask
    started_s: float


class Scheduler(Generic[A]):
    """The shards of a run, waiting or given out.

    Args:
        shards: all of them.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        ordered = sorted(shards, key=lambda shard: -(shard.n_bytes or 0))
        self._waiting = deque(ShardTask(shard) for shard in ordered)
        self._tries: dict[str, list[Attempt[A]]] = {}
        self._of_actor: dict[A, list[Attempt[A]]] = {}
        self._committing: dict[str, Attempt[A]] = {}
        self._pace = _Pace()

    @property
    def n_waiting(self) -> int:
        """Shards that nobody has begun."""
        return len(self._waiting)

    @property
    def n_open(self) -> int:
        """Shards that actors have open."""
        return len(self._tries)

    @property
    def n_without_backup(self) -> int:
        """Of these, those that one actor has: so many idle ones may yet be of use."""
        return sum(len(tries) == 1 for tries in self._tries.values())

    @property
    def open(self) -> KeysView[str]:
        """Their ids."""
        return self._tries.keys()

    @property
    def busy(self) -> KeysView[A]:
        """The actors that have shards open."""
        return self._of_actor.keys()

    def attempts_of(self, actor: A) -> list[Attempt[A]]:
        """What an actor is at."""
        return list(self._of_actor.get(actor, ()))

    def take(
        self,
        actor: A,
        n_slots: int,
        n_actors: int,
        now_s: float,
        node: str = "",
        others: Callable[[], frozenset[str]] = frozenset,
    ) -> Attempt[A] | None:
        """The next shard for an actor; None where it has enough.

        Args:
            actor: that asks.
            n_slots: most shards that it may have open.
            n_actors: how many share the work. The first ones that are ready do not take it all.
            now_s: the time.
            node: ID of the actor's node, which gets no shard that a fault of it has failed.
            others: Returns the nodes that have actors: where none of them is better, it does.
        """

        def suits(work: ShardTask) -> bool:
            return node not in work.failed_nodes or others() <= work.failed_nodes

        open_ = [each.work for each in self.attempts_of(actor)]
        work = self._next(open_, n_slots, n_actors, suits) or (
            None if open_ or self._waiting else self._straggler(actor, now_s, suits)
        )
        if work is None:
            return None
        taken = Attempt(actor, work, now_s)
        self._tries.setdefault(work.shard.shard_id, []).append(taken)
        self._of_actor.setdefault(actor, []).append(taken)
        return taken

    def may_commit(self, finished: Attempt[A]) -> bool:
        """Whether a try that is through may write its rows; no other may from then on."""
        shard = finished.work.shard.shard_id
        if shard not in self._tries:
            return False  # another one has committed it
        return self._committing.setdefault(shard, finished) is finished

    def committed(self, finished: Attempt[A], now_s: float) -> list[Attempt[A]]:
        """A shard is done; the other tries of it, which are in vain and end by themselves."""
        shard = finished.work.shard
        self._pace.add(shard, now_s - finished.started_s)
        del self._committing[shard.shard_id]
        others = [each for each in self._tries.pop(shard.shard_id) if each is not finished]
        self._drop(finished)
        return others

    def ended(self, failed: Attempt[A]) -> bool:
        """A try came to nothing; whether its shard is left without one, and not done."""
        self._drop(failed)
        shard = failed.work.shard.shard_id
        if self._committing.get(shard) is failed:
            del self._committing[shard]
        if failed not in (tries := self._tries.get(shard, [])):
            return False
        tries.remove(failed)
        if not tries:
            del self._tries[shard]
        return not tries

    def put(self, work: ShardTask) -> None:
        """Have a shard done once more, after the rest."""
        self._waiting.append(work)

    def _next(
        self,
        open_: Sequence[ShardTask],
        n_slots: int,
        n_actors: int,
        suits: Callable[[ShardTask], bool],
    ) -> ShardTask | None:
        share = math.ceil((len(self._waiting) + len(self._tries)) / n_actors)
        if len(open_) >= min(n_slots, share) or any(work.alone for work in open_):
            return None
        for work in self._waiting:
            if suits(work) and (not work.alone or not open_):
                self._waiting.remove(work)
                return work
        return None

    def _straggler(
        self, actor: A, now_s: float, suits: Callable[[ShardTask], bool]
    ) -> ShardTask | None:
        """The work of the slowest try that has no second one, if it is slow enough."""
        found: tuple[float, ShardTask] | None = None
        for tries in self._tries.values():
            first = tries[0]
            took_s = now_s - first.started_s
            slowness = took_s / self._pace.expected_s(first.work.shard)
            is_slow = slowness > SLOW and took_s > LEAST_SLOW_S
            if len(tries) > 1 or first.actor == actor or first.work.alone or not is_slow:
                continue
            if not suits(first.work):
                continue
            if found is None or slowness > found[0]:
                found = slowness, first.work
        return found[1] if found else None

    def _drop(self, ended: Attempt[A]) -> None:
        tries = self._of_actor[ended.actor]
        tries.remove(ended)
        if not tries:
            del self._of_actor[ended.actor]


class _Pace:
    """How long tries take, by those that have been committed."""

    def __init__(self) -> None:
        self._took_s = self._sized_took_s = 0.0
        self._n = self._n_bytes = 0

    def add(self, shard: Shard, took_s: float) -> None:
        self._took_s += took_s
        self._n += 1
        if shard.n_bytes:
            self._sized_took_s += took_s
            self._n_bytes += shard.n_bytes

    def expected_s(self, shard: Shard) -> float:
        """Infinite as long as nothing is known."""
        if shard.n_bytes and self._n_bytes:
            return max(self._sized_took_s / self._n_bytes * shard.n_bytes, 1e-9)
        return max(self._took_s / self._n, 1e-9) if self._n else math.inf

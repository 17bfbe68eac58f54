"""Scheduling of shards to actors, and the choice between two attempts at a shard.

Pure state: it knows nothing of Ray, and receives the time as an argument, so that a test can
simulate a cluster of many actors. Large shards come first, so that small shards even out the end.
At the end, an idle actor starts a backup attempt at the shard of a straggler. The first of the two
attempts that finishes commits, and the other is dropped.
"""

import math
from collections import deque
from collections.abc import Callable, Hashable, KeysView, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from jobs.cluster.shard_task import ShardTask
from pipeline.shards import Shard

STRAGGLER_FACTOR = 2.0
"""Ratio of an attempt's time to the time expected for its size, above which it is a straggler."""
MIN_STRAGGLER_S = 10.0
"""Time before an attempt can be a straggler, in seconds: a backup attempt has a cost, too."""

A = TypeVar("A", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Attempt(Generic[A]):
    """An attempt of an actor to embed a shard.

    Attributes:
        actor: The actor.
        task: The shard, with the history of its failures.
        started_s: Time at which the actor got the shard, in seconds.
    """

    actor: A
    task: ShardTask
    started_s: float


class Scheduler(Generic[A]):
    """The shards of a run: waiting, or open at one or two actors.

    Args:
        shards: The shards of the run.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        ordered = sorted(shards, key=lambda shard: -(shard.n_bytes or 0))
        self._waiting = deque(ShardTask(shard) for shard in ordered)
        self._attempts: dict[str, list[Attempt[A]]] = {}
        self._by_actor: dict[A, list[Attempt[A]]] = {}
        self._committing: dict[str, Attempt[A]] = {}
        self._pace = _Pace()

    @property
    def n_waiting(self) -> int:
        """Number of shards that no actor has begun."""
        return len(self._waiting)

    @property
    def n_open(self) -> int:
        """Number of shards that actors have open."""
        return len(self._attempts)

    @property
    def n_without_backup(self) -> int:
        """Open shards with a single attempt: how many idle actors could still help."""
        return sum(len(attempts) == 1 for attempts in self._attempts.values())

    @property
    def open_shard_ids(self) -> KeysView[str]:
        """The IDs of the shards that actors have open."""
        return self._attempts.keys()

    @property
    def busy(self) -> KeysView[A]:
        """The actors that have shards open."""
        return self._by_actor.keys()

    def attempts_of(self, actor: A) -> list[Attempt[A]]:
        """Return the attempts of an actor that have not ended."""
        return list(self._by_actor.get(actor, ()))

    def take(
        self,
        actor: A,
        n_slots: int,
        n_actors: int,
        now_s: float,
        node: str = "",
        nodes_with_actors: Callable[[], frozenset[str]] = frozenset,
    ) -> Attempt[A] | None:
        """Start an attempt of an actor at its next shard, and return it; None if it has enough.

        Args:
            actor: The actor that asks for a shard.
            n_slots: Most shards that the actor may have open.
            n_actors: Number of actors that share the shards. The actors that are ready first do not
                take the share of the others.
            now_s: Current time in seconds.
            node: ID of the actor's node. The node does not get shards that its own faults failed.
            nodes_with_actors: Returns the IDs of the nodes that have actors. If all of them failed
                a shard, `node` may have it nevertheless.
        """

        def is_suitable(task: ShardTask) -> bool:
            return node not in task.failed_nodes or nodes_with_actors() <= task.failed_nodes

        open_ = [each.task for each in self.attempts_of(actor)]
        task = self._next(open_, n_slots, n_actors, is_suitable) or (
            None if open_ or self._waiting else self._straggler(actor, now_s, is_suitable)
        )
        if task is None:
            return None
        attempt = Attempt(actor, task, now_s)
        self._attempts.setdefault(task.shard.shard_id, []).append(attempt)
        self._by_actor.setdefault(actor, []).append(attempt)
        return attempt

    def may_commit(self, finished: Attempt[A]) -> bool:
        """Return whether a finished attempt may commit; from then on, no other attempt may."""
        shard = finished.task.shard.shard_id
        if shard not in self._attempts:
            return False  # another attempt has committed the shard
        return self._committing.setdefault(shard, finished) is finished

    def record_commit(self, finished: Attempt[A], now_s: float) -> list[Attempt[A]]:
        """Record that an attempt has committed its shard.

        Returns:
            The other attempts at the shard. They are in vain, and remain until `end` is called.
        """
        shard = finished.task.shard
        self._pace.add(shard, now_s - finished.started_s)
        del self._committing[shard.shard_id]
        others = [each for each in self._attempts.pop(shard.shard_id) if each is not finished]
        self._drop(finished)
        return others

    def end(self, attempt: Attempt[A]) -> bool:
        """End an attempt that has not committed.

        Returns:
            Whether its shard is uncommitted and has no other attempt, so that it needs a new one.
        """
        self._drop(attempt)
        shard = attempt.task.shard.shard_id
        if self._committing.get(shard) is attempt:
            del self._committing[shard]
        if attempt not in (attempts := self._attempts.get(shard, [])):
            return False
        attempts.remove(attempt)
        if not attempts:
            del self._attempts[shard]
        return not attempts

    def requeue(self, task: ShardTask) -> None:
        """Add the task of a failed shard after all waiting tasks."""
        self._waiting.append(task)

    def _next(
        self,
        open_: Sequence[ShardTask],
        n_slots: int,
        n_actors: int,
        is_suitable: Callable[[ShardTask], bool],
    ) -> ShardTask | None:
        share = math.ceil((len(self._waiting) + len(self._attempts)) / n_actors)
        if len(open_) >= min(n_slots, share) or any(task.runs_alone for task in open_):
            return None
        for task in self._waiting:
            if is_suitable(task) and (not task.runs_alone or not open_):
                self._waiting.remove(task)
                return task
        return None

    def _straggler(
        self, actor: A, now_s: float, is_suitable: Callable[[ShardTask], bool]
    ) -> ShardTask | None:
        """Return the task of the slowest straggler that an actor can back up, or None."""
        found: tuple[float, ShardTask] | None = None
        for attempts in self._attempts.values():
            first = attempts[0]
            took_s = now_s - first.started_s
            slowness = took_s / self._pace.expected_s(first.task.shard)
            is_slow = slowness > STRAGGLER_FACTOR and took_s > MIN_STRAGGLER_S
            has_backup = len(attempts) > 1
            if has_backup or first.actor == actor or first.task.runs_alone or not is_slow:
                continue
            if not is_suitable(first.task):
                continue
            if found is None or slowness > found[0]:
                found = slowness, first.task
        return found[1] if found else None

    def _drop(self, ended: Attempt[A]) -> None:
        attempts = self._by_actor[ended.actor]
        attempts.remove(ended)
        if not attempts:
            del self._by_actor[ended.actor]


class _Pace:
    """The mean time of committed attempts, per byte where the sizes of shards are known."""

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
        """Return the expected time of a shard in seconds; infinite before the first commit."""
        if shard.n_bytes and self._n_bytes:
            return max(self._sized_took_s / self._n_bytes * shard.n_bytes, 1e-9)
        return max(self._took_s / self._n, 1e-9) if self._n else math.inf

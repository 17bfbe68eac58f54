"""The number of actors to start, and the nodes to avoid.

Pure state, without Ray, like `scheduler`. A pending actor is what makes the cluster autoscaler add
a node. So a pool that may grow always keeps some actors pending: as many as are running, while
shards are waiting. A node on which actors die repeatedly without committing a shard is excluded
with exponential backoff. A node with a fault of its own, such as a full disk, is excluded from the
first fault on. If all nodes have repeated faults, the run ends.
"""

from collections.abc import Collection
from dataclasses import dataclass

FIRST_BACKOFF_S = 5.0
"""First time that a node is excluded, in seconds; the time doubles with each further failure."""
MAX_BACKOFF_S = 300.0
MAX_FAULTS = 3
"""Faults of a node without a commit between, after which it is not expected to recover."""
_TOLERATED_DEATHS = 1
"""Deaths of actors on a node in a row that do not exclude the node."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """The size of an actor pool.

    Attributes:
        n_initial: Number of actors to start with.
        grows: Whether the pool grows when the cluster has, or gets, room for more actors.
    """

    n_initial: int
    grows: bool = False


class PoolSizer:
    """The failures of each node, and the number of actors to start.

    Args:
        size: Size of the pool.
    """

    def __init__(self, size: PoolLimits) -> None:
        self._size = size
        self._deaths: dict[str, int] = {}
        self._backoff_until_s: dict[str, float] = {}
        self._faults: dict[str, int] = {}
        self._faulty_until_s: dict[str, float] = {}

    def n_to_start(self, n_starting: int, n_ready: int, n_waiting: int) -> int:
        """Return the number of actors to start now.

        Args:
            n_starting: Number of actors that are not ready yet.
            n_ready: Number of actors that are ready.
            n_waiting: Number of shards that no actor has begun. More actors would be idle.
        """
        wanted = self._size.n_initial - n_ready
        if self._size.grows:
            wanted = max(wanted, n_ready, 1)
        return max(0, min(wanted, n_waiting) - n_starting)

    def record_death(self, node: str, now_s: float) -> None:
        """Record that an actor died on a node, and exclude the node if it happens repeatedly.

        Args:
            node: ID of the node; empty if the actor died before its node was known.
            now_s: Current time in seconds.
        """
        if not node:
            return
        deaths = self._deaths[node] = self._deaths.get(node, 0) + 1
        if deaths > _TOLERATED_DEATHS:
            backoff_s = min(FIRST_BACKOFF_S * 2 ** (deaths - _TOLERATED_DEATHS - 1), MAX_BACKOFF_S)
            self._backoff_until_s[node] = now_s + backoff_s

    def record_fault(self, node: str, now_s: float) -> None:
        """Exclude a node that has a fault of its own; ignore its reports while it is excluded.

        Args:
            node: ID of the node.
            now_s: Time at which a process on the node reported the fault, in seconds.
        """
        if node and node not in self.faulty_nodes(now_s):
            faults = self._faults[node] = self._faults.get(node, 0) + 1
            backoff_s = min(FIRST_BACKOFF_S * 2 ** (faults - 1), MAX_BACKOFF_S)
            self._faulty_until_s[node] = now_s + backoff_s

    def is_hopeless(self, nodes: Collection[str]) -> bool:
        """Return whether each of these nodes has had `MAX_FAULTS` faults since its last commit."""
        return bool(nodes) and all(self._faults.get(node, 0) >= MAX_FAULTS for node in nodes)

    def record_commit(self, node: str) -> None:
        """Record that an actor on a node has committed a shard."""
        self._deaths.pop(node, None)
        self._backoff_until_s.pop(node, None)
        # A faulty node stays excluded: a shard that it had begun may have needed no disk.
        self._faults.pop(node, None)

    def faulty_nodes(self, now_s: float) -> frozenset[str]:
        """Return the nodes excluded because of a fault of their own; they get no shards at all."""
        return frozenset(node for node, until in self._faulty_until_s.items() if until > now_s)

    def excluded_nodes(self, now_s: float) -> frozenset[str]:
        """Return all nodes on which no actor may be started now."""
        backing_off = {node for node, until in self._backoff_until_s.items() if until > now_s}
        return self.faulty_nodes(now_s) | backing_off

"""How many actors a run starts, and which nodes it keeps away from for a while.

Plain state, like `scheduler`. An actor that Ray has no room for yet waits, and is what makes an
autoscaler add a node; so a run that is to grow with its cluster has always some that wait, as many
as it has at work, while there are shards for them. A node on which actors die one after the other,
without a shard done between, is left alone for longer and longer. So is a node that has a fault of
its own, as a full disk, from the first time on; where all nodes have one, the run ends.
"""

from collections.abc import Collection
from dataclasses import dataclass

FIRST_REST_S = 5.0
LONGEST_REST_S = 300.0
MOST_FAULTS = 3
"""Rests of a node in a row, without a commit between, after which it is not expected to recover."""
_FORGIVEN = 1
"""Deaths in a row for which a node is not left alone: that may happen to anybody."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How many actors a run is to have.

    Attributes:
        at_first: to start with.
        grows: whether it is to have more where the cluster has, or gets, room for them.
    """

    at_first: int
    grows: bool = False


class PoolSizer:
    """Counts deaths by node, and says how many actors to start.

    Args:
        size: of the fleet.
    """

    def __init__(self, size: PoolLimits) -> None:
        self._size = size
        self._deaths: dict[str, int] = {}
        self._rests_until_s: dict[str, float] = {}
        self._faults: dict[str, int] = {}
        self._broken_until_s: dict[str, float] = {}

    def n_to_start(self, n_starting: int, n_ready: int, n_waiting: int) -> int:
        """How many actors to start now.

        Args:
            n_starting: actors that are not ready yet.
            n_ready: actors that are.
            n_waiting: shards that nobody has begun; more actors would have nothing to do.
        """
        wanted = self._size.at_first - n_ready
        if self._size.grows:
            wanted = max(wanted, n_ready, 1)
        return max(0, min(wanted, n_waiting) - n_starting)

    def record_death(self, node: str, now_s: float) -> None:
        """An actor died on a node; empty where it had not told yet which."""
        if not node:
            return
        deaths = self._deaths[node] = self._deaths.get(node, 0) + 1
        if deaths > _FORGIVEN:
            rest_s = min(FIRST_REST_S * 2 ** (deaths - _FORGIVEN - 1), LONGEST_REST_S)
            self._rests_until_s[node] = now_s + rest_s

    def record_fault(self, node: str, now_s: float) -> None:
        """Leave a node alone that has a fault of its own; what it reports meanwhile is not counted.

        Args:
            node: ID of the node.
            now_s: Time at which a process on it reported the fault.
        """
        if node and node not in self.broken(now_s):
            faults = self._faults[node] = self._faults.get(node, 0) + 1
            rest_s = min(FIRST_REST_S * 2 ** (faults - 1), LONGEST_REST_S)
            self._broken_until_s[node] = now_s + rest_s

    def is_hopeless(self, nodes: Collection[str]) -> bool:
        """Whether all nodes had faults, again and again, and nothing was committed between."""
        return bool(nodes) and all(self._faults.get(node, 0) >= MOST_FAULTS for node in nodes)

    def record_commit(self, node: str) -> None:
        """An actor on a node has committed a shard."""
        self._deaths.pop(node, None)
        self._rests_until_s.pop(node, None)
        self._faults.pop(node, None)  # it still rests: what it had begun may need no disk

    def broken(self, now_s: float) -> frozenset[str]:
        """The nodes that rest because of a fault of their own: no shard is to go there."""
        return frozenset(node for node, until in self._broken_until_s.items() if until > now_s)

    def excluded_nodes(self, now_s: float) -> frozenset[str]:
        """The nodes to keep away from."""
        resting = {node for node, until in self._rests_until_s.items() if until > now_s}
        return self.broken(now_s) | resting

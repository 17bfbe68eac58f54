"""A shard's task in a run on Ray, and the task that follows each kind of failure.

A shard is attempted up to `MAX_ATTEMPTS` times. Failures count differently by their cause:

- An actor that died while it held several shards: no shard is charged with an attempt, because any
  of them may be the cause. From the second such death on, each of these shards runs alone.
- A decoder that died: the next attempts send one event per packet, which shows the clip at which
  the decoder dies. A clip at which two decoders died is not decoded again.
- A fault of a node, such as a full disk: no attempt is charged while there are nodes that have not
  failed the shard.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from pipeline.shards import Shard

MAX_ATTEMPTS = 3
_FIRST_ONE_BY_ONE = 2
"""Number of the first attempt that sends one event per packet, after a decoder died."""


@dataclass(frozen=True, slots=True)
class ShardTask:
    """A shard waiting to be embedded, with the history of its failures.

    Attributes:
        shard: The shard.
        attempt: Number of this attempt, starting at 1.
        actor_deaths: Times an actor died while it held this shard and others.
        one_by_one: Whether to send one event per packet, because a decoder died on this shard.
        died_at: Index of the clip at which the decoder last died; None if unknown.
        poison: Indices of clips that killed two decoders; they are not decoded again.
        failed_nodes: IDs of nodes whose own faults have failed the shard since its last attempt.
    """

    shard: Shard
    attempt: int = 1
    actor_deaths: int = 0
    one_by_one: bool = False
    died_at: int | None = None
    poison: frozenset[int] = frozenset()
    failed_nodes: frozenset[str] = frozenset()

    @property
    def runs_alone(self) -> bool:
        """Whether the actor of this shard may hold no other shard."""
        return self.actor_deaths > 1

    def retry(self) -> "ShardTask | None":
        """Return the task of the next attempt after a failure; None after the last attempt."""
        return replace(self, attempt=self.attempt + 1) if self.attempt < MAX_ATTEMPTS else None

    def retry_after_node_fault(self, node: str, nodes: Collection[str]) -> "ShardTask | None":
        """Return the next task after a fault of a node; None after the last attempt.

        Args:
            node: ID of the node that has the fault.
            nodes: IDs of all nodes that can embed.
        """
        failed_nodes = self.failed_nodes | {node}
        if not failed_nodes.issuperset(nodes):
            # The same node may fail the shard repeatedly, as Ray may start a decoder there for lack
            # of room elsewhere. This ends: the node's backoff grows with each fault, and a run in
            # which nothing is committed any more fails.
            return replace(self, failed_nodes=failed_nodes)
        task = self.retry()
        return task and replace(task, failed_nodes=frozenset())

    def retry_after_shared_death(self) -> "ShardTask":
        """Return the next task after the death of an actor that held other shards as well."""
        return replace(self, actor_deaths=self.actor_deaths + 1)

    def retry_after_decoder_death(self, clip: int | None) -> "ShardTask | None":
        """Return the next task after the death of the shard's decoder; None after the last attempt.

        Args:
            clip: Index of the clip at which the decoder died; None if unknown.
        """
        if clip is not None and clip == self.died_at:
            poison = self.poison | {clip}
            return replace(self, attempt=_FIRST_ONE_BY_ONE, died_at=None, poison=poison)
        task = self.retry()
        return task and replace(task, one_by_one=True, died_at=clip)

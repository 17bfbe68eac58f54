"""A shard on its way through a run on Ray, and what a failure makes of it.

A shard is tried `MAX_ATTEMPTS` times. Whose fault a death is, is not always plain: where a model's
process died with several shards in it, none of them has failed yet, but from the second time on
each is tried alone. Where a decoder dies, the next tries go clip by clip, and a clip at which two
of them die is passed over from then on. A fault of a node, as a full disk, is no failure of the
shard as long as there are nodes that have not failed it.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from pipeline.shards import Shard

MAX_ATTEMPTS = 3
_FIRST_CAREFUL = 2
"""Attempt from which on decoding goes clip by clip, after a decoder died."""


@dataclass(frozen=True, slots=True)
class ShardTask:
    """A shard to embed.

    Attributes:
        shard: which.
        attempt: the how manieth this is.
        deaths: of model processes that had this shard and others.
        one_by_one: its decoder died before.
        died_at: place of the clip at which it last died.
        poison: places of clips at which it died twice.
        failed_nodes: IDs of nodes whose own faults have failed it since its last attempt.
    """

    shard: Shard
    attempt: int = 1
    deaths: int = 0
    one_by_one: bool = False
    died_at: int | None = None
    poison: frozenset[int] = frozenset()
    failed_nodes: frozenset[str] = frozenset()

    @property
    def alone(self) -> bool:
        """Whether no other shard is to be in the same process."""
        return self.deaths > 1

    def failed(self) -> "ShardTask | None":
        """What follows a try that failed; None where it was the last."""
        return replace(self, attempt=self.attempt + 1) if self.attempt < MAX_ATTEMPTS else None

    def failed_on(self, node: str, nodes: Collection[str]) -> "ShardTask | None":
        """Return what follows a fault of a node; None where all nodes have failed it too often.

        Args:
            node: ID of the node that has the fault.
            nodes: IDs of the nodes that can embed.
        """
        failed_nodes = self.failed_nodes | {node}
        if not failed_nodes.issuperset(nodes):
            # Also where a node fails it again: a decoder may have gone there for lack of room. It
            # rests longer each time, and a run in which nothing is committed any more ends.
            return replace(self, failed_nodes=failed_nodes)
        after = self.failed()
        return after and replace(after, failed_nodes=frozenset())

    def died_among_others(self) -> "ShardTask":
        """What follows the death of a process that had other shards as well."""
        return replace(self, deaths=self.deaths + 1)

    def decoder_died(self, clip: int | None) -> "ShardTask | None":
        """What follows the death of its decoder.

        Args:
            clip: place of the clip that it was at, where that is known.
        """
        if clip is not None and clip == self.died_at:
            return replace(self, attempt=_FIRST_CAREFUL, died_at=None, poison=self.poison | {clip})
        after = self.failed()
        return after and replace(after, one_by_one=True, died_at=clip)

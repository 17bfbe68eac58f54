"""Committed shards as a plan needs to know them: by a table, or in memory."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.clips import ClipRef, Container
from pipeline.shards import Rank

Contents = Sequence[ClipRef] | Container
"""What a shard was made of."""


class CommittedShards(Protocol):
    """Committed shards of a table; `Inventory` has those of a table that exists."""

    @property
    def ids(self) -> AbstractSet[str]:
        """Ids of the committed shards whose data files are there."""

    @property
    def damaged(self) -> Mapping[str, str]:
        """Ids of shards whose data files are not there as committed, with the reason."""

    def contents_of(self, shard: str) -> Contents:
        """Return the clips or the container of a shard; called from several threads."""

    def find_superseded(self) -> AbstractSet[str]:
        """Return the ids of shards that other committed shards have replaced."""

    def ranks(self, shards: Iterable[str]) -> Mapping[str, Rank]:
        """Return the order in which shards keep a clip that several of them have."""


@dataclass(frozen=True)
class KnownShards:
    """Committed shards whose contents are in memory; none by default, as for a new table.

    Attributes:
        contents: Contents by the id of the shard.
        damaged: Ids of shards whose data files are not there as committed, with the reason.
    """

    contents: Mapping[str, Contents] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)

    @property
    def ids(self) -> AbstractSet[str]:
        """Ids of the shards."""
        return self.contents.keys()

    def contents_of(self, shard: str) -> Contents:
        """Return the clips or the container of a shard."""
        return self.contents[shard]

    def find_superseded(self) -> AbstractSet[str]:
        """Return nothing: no shard has replaced another."""
        return frozenset()

    def ranks(self, shards: Iterable[str]) -> Mapping[str, Rank]:
        """Return nothing: all shards have the same rank."""
        return {}

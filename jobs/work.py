"""What a run on Ray still has to do, and what a failure makes of it.

A shard is tried `MAX_ATTEMPTS` times. Whose fault a death is, is not always plain: where a model's
process died with several shards in it, none of them has failed yet, but from the second time on
each is tried alone. Where a decoder dies, the next tries go clip by clip, and a clip at which two
of them die is passed over from then on.
"""

import math
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from pipeline.plan import Shard

MAX_ATTEMPTS = 3
_FIRST_CAREFUL = 2
"""Attempt from which on decoding goes clip by clip, after a decoder died."""


@dataclass(frozen=True, slots=True)
class Work:
    """A shard to embed.

    Attributes:
        shard: which.
        attempt: the how manieth this is.
        deaths: of model processes that had this shard and others.
        one_by_one: its decoder died before.
        died_at: place of the clip at which it last died.
        poison: places of clips at which it died twice.
    """

    shard: Shard
    attempt: int = 1
    deaths: int = 0
    one_by_one: bool = False
    died_at: int | None = None
    poison: frozenset[int] = frozenset()

    @property
    def alone(self) -> bool:
        """Whether no other shard is to be in the same process."""
        return self.deaths > 1

    def failed(self) -> "Work | None":
        """What follows a try that failed; None where it was the last."""
        return replace(self, attempt=self.attempt + 1) if self.attempt < MAX_ATTEMPTS else None

    def died_among_others(self) -> "Work":
        """What follows the death of a process that had other shards as well."""
        return replace(self, deaths=self.deaths + 1)

    def decoder_died(self, clip: int | None) -> "Work | None":
        """What follows the death of its decoder.

        Args:
            clip: place of the clip that it was at, where that is known.
        """
        if clip is not None and clip == self.died_at:
            return replace(self, attempt=_FIRST_CAREFUL, died_at=None, poison=self.poison | {clip})
        after = self.failed()
        return after and replace(after, one_by_one=True, died_at=clip)


class Queue:
    """The work that nobody has taken yet.

    Args:
        shards: all of it.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._works = deque(Work(shard) for shard in shards)

    def __len__(self) -> int:
        return len(self._works)

    def put(self, work: Work) -> None:
        """Take work back, to be done after the rest."""
        self._works.append(work)

    def take(self, open_: Collection[Work], slots: int, n_open: int, n_actors: int) -> Work | None:
        """The next work for an actor; None where it has enough.

        Args:
            open_: what it is at.
            slots: most shards that it can have open.
            n_open: shards that all actors have open.
            n_actors: how many share the work. The first ones that are ready do not take it all.
        """
        share = math.ceil((len(self._works) + n_open) / n_actors)
        if len(open_) >= min(slots, share) or any(work.alone for work in open_):
            return None
        for work in self._works:
            if not work.alone or not open_:
                self._works.remove(work)
                return work
        return None

"""What a table holds against what its source holds now: which clips stay, changed, or are gone.

A clip that changed loses its rows before it is embedded anew, so that no reader ever finds two
versions of it. One that is gone keeps them until somebody asks to prune. So does one that the
source names but that cannot be looked at: that may pass.

A clip that stands in several shards, as two runs wrote at once, keeps the row of one of them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from pipeline.clips import ClipRef, Container
from pipeline.io.versions import MISSING
from pipeline.planning.committed import Contents
from pipeline.shards import Rank

Key = tuple[str, str]
"""Uri and member of a clip."""


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A committed shard that loses clips.

    Attributes:
        shard: its id.
        kept: the clips that stay; where there are none, the shard goes.
    """

    shard: str
    kept: tuple[ClipRef, ...] = ()


@dataclass(slots=True)
class Diff:
    """What `compare` found.

    Attributes:
        clips: those whose rows stay.
        containers: the same.
        rewrites: shards that lose some of theirs.
        changed: clips and containers whose rows are of another version, as they were.
        again: clips and containers that are to be embedded again, though they have not changed.
        gone: clips and containers that the source does not have any more.
        twice: Clips and containers that another shard has as well, and that this one loses.
        n_committed: how many clips and containers were compared.
    """

    clips: set[Key] = field(default_factory=set)
    containers: set[Container] = field(default_factory=set)
    rewrites: list[Rewrite] = field(default_factory=list)
    changed: list[ClipRef | Container] = field(default_factory=list)
    to_retry: list[ClipRef | Container] = field(default_factory=list)
    removed: list[ClipRef | Container] = field(default_factory=list)
    duplicated: list[ClipRef | Container] = field(default_factory=list)
    n_committed: int = 0


def compare(
    contents: Mapping[str, Contents],
    clips: Collection[ClipRef],
    containers: Iterable[Container],
    prune: bool,
    again: AbstractSet[Key],
    ranks: Callable[[Iterable[str]], Mapping[str, Rank]] = lambda _: {},
) -> Diff:
    """Compare what is committed with a listing.

    Args:
        contents: of the committed shards.
        clips: of the listing.
        containers: of the listing.
        prune: whether what is gone loses its rows.
        again: clips to be embedded again. A container is read as a whole: one of its clips, and
            all are.
        ranks: Returns the order in which shards keep a clip that several have; called only where
            there is such a clip. Shards that it does not know come last.
    """
    clips, containers = list(clips), list(containers)
    found = _compare(sorted(contents), contents, clips, containers, prune, again)
    if found.duplicated:
        known = ranks(sorted(contents))
        last: Rank = (1, 0.0, "")
        ordered = sorted(contents, key=lambda shard: (known.get(shard, last), shard))
        found = _compare(ordered, contents, clips, containers, prune, again)
    return found


def _compare(
    shards: Iterable[str],
    contents: Mapping[str, Contents],
    clips: Collection[ClipRef],
    containers: Iterable[Container],
    prune: bool,
    again: AbstractSet[Key],
) -> Diff:
    """Compare in an order: of the shards that have a clip, the first keeps it."""
    found = Diff()
    comparison = _Comparison(found, clips, containers, prune, again)
    for shard in shards:
        content = contents[shard]
        if isinstance(content, Container):
            found.n_committed += 1
            if not comparison.container_stays(content):
                found.rewrites.append(Rewrite(shard))
            continue
        found.n_committed += len(content)
        kept = tuple(clip for clip in content if comparison.clip_stays(clip))
        if len(kept) < len(content):
            found.rewrites.append(Rewrite(shard, kept))
    return found


class _Comparison:
    def __init__(
        self,
        found: Diff,
        clips: Collection[ClipRef],
        containers: Iterable[Container],
        prune: bool,
        again: AbstractSet[Key],
    ) -> None:
        self._found = found
        self._versions = {(clip.uri, clip.member): clip.version for clip in clips}
        # Its host did not answer today: that says nothing of what it holds.
        self._unknown = {(clip.uri, clip.member) for clip in clips if clip.is_out_of_reach}
        self._containers = set(containers)
        self._files = {container.uri: container.version for container in self._containers}
        self._prune = prune
        self._again = again
        self._files_again = {uri for uri, _ in again}

    def clip_stays(self, clip: ClipRef) -> bool:
        key = clip.uri, clip.member
        version = self._versions.get(key)
        if version == clip.version:
            if key in self._again:
                self._found.to_retry.append(clip)
                return False
        elif key in self._unknown:
            pass
        elif version in (None, MISSING):
            self._found.removed.append(clip)
            if self._prune:
                return False
        else:
            self._found.changed.append(clip)
            return False
        if key in self._found.clips:
            self._found.duplicated.append(clip)
            return False
        self._found.clips.add(key)
        return True

    def container_stays(self, container: Container) -> bool:
        if container in self._containers:
            if container.uri in self._files_again:
                self._found.to_retry.append(container)
                return False
        elif self._files.get(container.uri, MISSING) == MISSING:
            self._found.removed.append(container)
            if self._prune:
                return False
        else:
            # A file that was written anew may be divided anew: then no part is as it was.
            self._found.changed.append(container)
            return False
        if container in self._found.containers:
            self._found.duplicated.append(container)
            return False
        self._found.containers.add(container)
        return True

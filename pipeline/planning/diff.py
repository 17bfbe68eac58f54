"""The difference between a table and its source: which clips stay, changed, or are gone.

A clip that changed loses its rows before it is embedded again, so that no reader ever finds two
versions of it. A clip that is gone keeps its rows until a run prunes. So does a clip that the
source names but that cannot be read today.

A clip that stands in several shards, because two runs wrote at once, keeps the row of one shard.
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
        shard: Id of the shard.
        kept: The clips that stay; empty where the whole shard is removed.
    """

    shard: str
    kept: tuple[ClipRef, ...] = ()


@dataclass(slots=True)
class Diff:
    """Result of comparing committed shards with a listing.

    Attributes:
        clips: Uri and member of the clips whose rows stay.
        containers: Containers whose rows stay.
        rewrites: Shards that lose some of their clips.
        changed: Clips and containers whose rows are of another version; the old version.
        to_retry: Clips and containers that are embedded again, though they have not changed.
        removed: Clips and containers that the source does not have any more.
        duplicated: Clips and containers that another shard keeps, and that their shard loses.
        n_committed: Number of clips and containers that were compared.
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
        contents: Contents of the committed shards, by id.
        clips: Clips of the listing.
        containers: Containers of the listing.
        prune: Whether clips that are gone lose their rows.
        again: Uri and member of clips to embed again. A container is read as a whole, so one of its
            clips stands for all of them.
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
    """Compare shards in order; the first shard that has a clip keeps it."""
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
    """The comparison of one clip or container after the other; fills a `Diff`."""

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
        # A host that does not answer says nothing of what it holds.
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
            # A file that was written again may be divided differently: no part is as it was.
            self._found.changed.append(container)
            return False
        if container in self._found.containers:
            self._found.duplicated.append(container)
            return False
        self._found.containers.add(container)
        return True

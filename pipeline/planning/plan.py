"""A listing to shards, and which of them are still to do.

Clips are sorted and cut into runs of N, or of fewer where their files are large, so that no shard
takes hours; a container is a shard of its own. A shard's id hashes the
table spec and its clips' (or its container's) uris and versions, never a position, so the same
listing in any order plans the same shards and resuming is one listing of commit records. Only where
records are found that this plan does not know (the source grew or changed, or N did) is it looked
up what these hold, and compared clip by clip.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType

from pipeline.clips import ClipRef, Container
from pipeline.planning.diff import Contents, Key, Rewrite, compare
from pipeline.shards import Rank, Shard, shard_id

SHARD_BYTES = 1 << 30
"""Most bytes of files in a shard of several: minutes of a GPU, and what a death costs."""
_READERS = 16
"""Threads that ask what is in committed shards: a store takes its time to answer each."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run has to do.

    Attributes:
        todo: shards to embed.
        done: ids of the shards that are committed already, those of `rewrites` among them.
        superseded: ids of committed shards that others have taken the place of: a run was killed
            before it took them away.
        rewrites: committed shards that lose clips before anything is embedded.
        changed: clips and containers whose committed rows are of an older version of the file.
        again: clips and containers that are embedded again, though they have not changed.
        gone: clips and containers that have committed rows and are not in the listing.
        n_committed: clips and containers with committed rows; 0 where nobody had to count them.
        damaged: Ids of committed shards whose data files are not there as committed, with the
            reason; they are removed, and their clips are embedded again.
        twice: Clips and containers whose rows stand in several shards; one shard keeps them.
    """

    pending: tuple[Shard, ...]
    done: tuple[str, ...]
    superseded: tuple[str, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    changed: tuple[ClipRef | Container, ...] = ()
    to_retry: tuple[ClipRef | Container, ...] = ()
    removed: tuple[ClipRef | Container, ...] = ()
    n_committed: int = 0
    damaged: Mapping[str, str] = dataclasses.field(default_factory=dict)
    duplicated: tuple[ClipRef | Container, ...] = ()

    @property
    def n_clips(self) -> int | None:
        """Clips to embed; None where that is not known."""
        counts = [shard.n_clips for shard in self.pending]
        return None if None in counts else sum(count or 0 for count in counts)


def plan_shards(
    clips: Iterable[ClipRef],
    spec_digest: str,
    shard_clips: int,
    containers: Iterable[Container] = (),
) -> list[Shard]:
    """Cut a listing into shards of at most `shard_clips` clips, and one a container.

    Of clips whose size is known, they also hold at most `SHARD_BYTES`, or a single clip.
    """
    # By a key: a million comparisons of dataclasses take half a minute. Spans in order of time, as
    # most formats are decoded from their start.
    ordered = sorted(
        set(clips), key=lambda clip: (clip.uri, clip.version, clip.span or (), clip.member)
    )
    shards = [Shard(shard_id(spec_digest, run), run) for run in _runs(ordered, shard_clips)]
    return shards + [
        Shard(shard_id(spec_digest, container), (), container)
        for container in sorted(set(containers))
    ]


def _runs(clips: Sequence[ClipRef], most_clips: int) -> Iterator[tuple[ClipRef, ...]]:
    first = n_bytes = 0
    for place, clip in enumerate(clips):
        n_bytes += clip.n_bytes or 0
        if place > first and (place - first == most_clips or n_bytes > SHARD_BYTES):
            yield tuple(clips[first:place])
            first, n_bytes = place, clip.n_bytes or 0
    if first < len(clips):
        yield tuple(clips[first:])


def plan_run(
    clips: Sequence[ClipRef],
    spec_digest: str,
    shard_clips: int,
    committed: set[str],
    contents_of: Callable[[str], Contents],
    containers: Sequence[Container] = (),
    *,
    superseded: Callable[[], set[str]] = set,
    prune: bool = False,
    again: AbstractSet[Key] = frozenset(),
    damaged: Mapping[str, str] = MappingProxyType({}),
    ranks: Callable[[Iterable[str]], Mapping[str, Rank]] = lambda _: {},
) -> Plan:
    """What is left to do for a listing.

    Args:
        clips: the listing.
        spec_digest: of the table.
        shard_clips: most clips a shard.
        committed: ids of the committed shards.
        contents_of: the clips or the container of a committed shard; called in threads, and only
            for those that the listing alone does not explain.
        containers: of the listing.
        superseded: tells which of the committed shards others have taken the place of; called only
            where `contents_of` is.
        prune: what is gone from the listing loses its rows.
        again: uri and member of clips that are to be embedded again.
        damaged: Ids of shards whose data files are not there as committed, with the reason. They
            are not among `committed`.
        ranks: Returns the order in which shards keep a clip that several have; called only where
            there is such a clip.
    """
    shards = {
        shard.shard_id: shard for shard in plan_shards(clips, spec_digest, shard_clips, containers)
    }
    if committed <= shards.keys() and not again:
        todo = tuple(s for s in shards.values() if s.shard_id not in committed)
        return Plan(todo, tuple(sorted(committed)), damaged=damaged)
    dead = superseded() & committed
    contents = _contents(sorted(committed - dead), shards, contents_of)
    found = compare(contents, clips, containers, prune, again, ranks)
    todo = tuple(
        plan_shards(
            (clip for clip in clips if (clip.uri, clip.member) not in found.clips),
            spec_digest,
            shard_clips,
            (each for each in containers if each not in found.containers),
        )
    )
    return Plan(
        todo,
        tuple(contents),
        tuple(sorted(dead)),
        tuple(found.rewrites),
        tuple(found.changed),
        tuple(found.to_retry),
        tuple(found.removed),
        found.n_committed,
        damaged,
        tuple(found.duplicated),
    )


def _contents(
    committed: Sequence[str],
    shards: Mapping[str, Shard],
    contents_of: Callable[[str], Contents],
) -> dict[str, Contents]:
    known = {each: shards[each] for each in committed if each in shards}
    contents: dict[str, Contents] = {
        each: shard.container or shard.clips for each, shard in known.items()
    }
    with ThreadPoolExecutor(_READERS) as pool:
        unknown = [each for each in committed if each not in known]
        contents.update(zip(unknown, pool.map(contents_of, unknown), strict=True))
    return dict(sorted(contents.items()))

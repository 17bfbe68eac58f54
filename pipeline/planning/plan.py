"""The plan of a run: a listing cut into shards, and which of them are still pending.

Clips are sorted and cut into runs of N, or of fewer where their files are large, so that no shard
takes hours. A container is a shard of its own. A shard's id hashes the table spec and the uris and
versions of its clips (or its container), never a position. So the same listing in any order plans
the same shards, and resuming is one listing of commit records. Committed shards that this plan does
not contain (the source grew or changed, or N did) are read and compared clip by clip.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipeline.clips import ClipRef, Container
from pipeline.planning.committed import CommittedShards, Contents
from pipeline.planning.diff import Key, Rewrite, compare
from pipeline.shards import Shard, shard_id
from pipeline.sources.listing import Listing

SHARD_BYTES = 1 << 30
"""Largest number of bytes of files in a shard of several clips; a dead actor loses whole shards."""
_READERS = 16
"""Threads that read what committed shards hold; a store answers each request slowly."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The work of a run.

    Attributes:
        pending: Shards to embed.
        done: Ids of the shards that are committed already, including those of `rewrites`.
        superseded: Ids of committed shards that other shards have replaced, left by a run that was
            killed before it removed them.
        rewrites: Committed shards that lose clips before anything is embedded.
        changed: Clips and containers whose committed rows are of an older version of the file.
        to_retry: Clips and containers that are embedded again, though they have not changed.
        removed: Clips and containers that have committed rows and are not in the listing.
        n_committed: Number of clips and containers with committed rows; 0 where the plan did not
            need to count them.
        damaged: Ids of committed shards whose data files are not there as committed, with the
            reason. They are removed, and their clips are embedded again.
        duplicated: Clips and containers whose rows stand in several shards; one shard keeps them.
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
        """Number of clips to embed; None where a container has to be read to count them."""
        counts = [shard.n_clips for shard in self.pending]
        return None if None in counts else sum(count or 0 for count in counts)


def plan_shards(
    clips: Iterable[ClipRef],
    spec_digest: str,
    shard_clips: int,
    containers: Iterable[Container] = (),
) -> list[Shard]:
    """Cut a listing into shards of at most `shard_clips` clips, and one shard per container.

    Where sizes are known, a shard also holds at most `SHARD_BYTES`, or a single clip.

    Args:
        clips: Clips of the listing, in any order.
        spec_digest: Digest of the table's spec.
        shard_clips: Largest number of clips per shard.
        containers: Containers of the listing, in any order.
    """
    # A sort key, because a million comparisons of dataclasses take half a minute. Spans of one file
    # are in order of time, because most formats are decoded from their start.
    ordered = sorted(
        set(clips), key=lambda clip: (clip.uri, clip.version, clip.span or (), clip.member)
    )
    shards = [Shard(shard_id(spec_digest, run), run) for run in _runs(ordered, shard_clips)]
    return shards + [
        Shard(shard_id(spec_digest, container), (), container)
        for container in sorted(set(containers))
    ]


def _runs(clips: Sequence[ClipRef], most_clips: int) -> Iterator[tuple[ClipRef, ...]]:
    """Yield the clips of each shard, cut by number and by bytes."""
    first = n_bytes = 0
    for index, clip in enumerate(clips):
        n_bytes += clip.n_bytes or 0
        if index > first and (index - first == most_clips or n_bytes > SHARD_BYTES):
            yield tuple(clips[first:index])
            first, n_bytes = index, clip.n_bytes or 0
    if first < len(clips):
        yield tuple(clips[first:])


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """Settings of a run that decide what it has to do.

    Attributes:
        spec_digest: Digest of the table's spec.
        shard_clips: Largest number of clips per shard.
        prune: Whether clips that the listing does not have any more lose their rows.
        retry: Uri and member of clips to embed again, though they have not changed.
    """

    spec_digest: str
    shard_clips: int
    prune: bool = False
    retry: AbstractSet[Key] = frozenset()


def plan_run(listing: Listing, committed: CommittedShards, options: PlanOptions) -> Plan:
    """Decide which shards of a listing still have to be embedded.

    Args:
        listing: The clips and containers of all sources.
        committed: The table's committed shards; only those are read that the listing does not
            explain.
        options: Spec digest, clips per shard, and whether to prune or to retry.

    Raises:
        StoreError: The contents of a committed shard cannot be read.
    """
    clips, containers = listing.clips, listing.containers
    planned = plan_shards(clips, options.spec_digest, options.shard_clips, containers)
    shards = {shard.shard_id: shard for shard in planned}
    ids = committed.ids
    if ids <= shards.keys() and not options.retry:
        pending = tuple(shard for shard in planned if shard.shard_id not in ids)
        return Plan(pending, tuple(sorted(ids)), damaged=committed.damaged)
    superseded = committed.find_superseded() & ids
    contents = _read_contents(sorted(ids - superseded), shards, committed)
    diff = compare(contents, clips, containers, options.prune, options.retry, committed.ranks)
    pending = tuple(
        plan_shards(
            (clip for clip in clips if (clip.uri, clip.member) not in diff.clips),
            options.spec_digest,
            options.shard_clips,
            (each for each in containers if each not in diff.containers),
        )
    )
    return Plan(
        pending,
        tuple(contents),
        tuple(sorted(superseded)),
        tuple(diff.rewrites),
        tuple(diff.changed),
        tuple(diff.to_retry),
        tuple(diff.removed),
        diff.n_committed,
        committed.damaged,
        tuple(diff.duplicated),
    )


def _read_contents(
    ids: Sequence[str], planned: Mapping[str, Shard], committed: CommittedShards
) -> dict[str, Contents]:
    """Return what committed shards hold; those that are planned as well need not be read."""
    contents: dict[str, Contents] = {
        each: planned[each].container or planned[each].clips for each in ids if each in planned
    }
    with ThreadPoolExecutor(_READERS) as pool:
        unknown = [each for each in ids if each not in planned]
        contents.update(zip(unknown, pool.map(committed.contents_of, unknown), strict=True))
    return dict(sorted(contents.items()))

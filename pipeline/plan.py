"""A listing to shards, and which of them are still to do.

Clips are sorted and cut into runs of N, or of fewer where their files are large, so that no shard
takes hours; a container is a shard of its own. A shard's id hashes the
table spec and its clips' (or its container's) uris and versions, never a position, so the same
listing in any order plans the same shards and resuming is one listing of commit records. Only where
records are found that this plan does not know (the source grew, or N changed) is it looked up what
these hold.
"""

import dataclasses
import hashlib
import json
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.clips import ClipRef, Container

SHARD_BYTES = 1 << 30
"""Most bytes of files in a shard of several: minutes of a GPU, and what a death costs."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The unit of work, of retry and of commit.

    Attributes:
        shard_id: 128-bit hex hash of spec and clips, or spec and container.
        clips: in the order of their rows; none where there is a container.
        container: what the clips are read from.
    """

    shard_id: str
    clips: tuple[ClipRef, ...]
    container: Container | None = None

    @property
    def n_clips(self) -> int | None:
        """How many clips; None where only reading the container will tell."""
        return self.container.n_clips if self.container else len(self.clips)

    @property
    def n_bytes(self) -> int | None:
        """Size of its files, as far as the listing told; None where it told of none."""
        if self.container:
            return self.container.n_bytes
        sizes = [clip.n_bytes for clip in self.clips if clip.n_bytes is not None]
        return sum(sizes) if sizes else None

    def __reduce__(self) -> tuple[Any, ...]:
        # Handing a shard out is most of what a driver does. By itself each clip would be pickled
        # in Python, field by field, at ten times the cost.
        return _shard, (self.shard_id, list(map(_fields_of, self.clips)), self.container)


def _shard(shard_id: str, clips: Iterable[tuple[Any, ...]], container: Container | None) -> Shard:
    return Shard(shard_id, tuple(ClipRef(*fields) for fields in clips), container)


_fields_of = operator.attrgetter(*(field.name for field in dataclasses.fields(ClipRef)))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run has to do.

    Attributes:
        todo: shards to embed.
        done: ids of the shards that are committed already.
        changed: clips and containers whose committed rows belong to an older version of the file.
    """

    todo: tuple[Shard, ...]
    done: tuple[str, ...]
    changed: tuple[ClipRef | Container, ...] = ()

    @property
    def n_clips(self) -> int | None:
        """Clips to embed; None where that is not known."""
        counts = [shard.n_clips for shard in self.todo]
        return None if None in counts else sum(count or 0 for count in counts)


def shard_id(spec_digest: str, contents: Iterable[ClipRef] | Container) -> str:
    """Id of the shard that holds these clips, whatever their order, or this container."""
    if isinstance(contents, Container):
        key: list[object] = [spec_digest, contents.uri, contents.part, contents.version]
    else:
        key = [spec_digest, sorted((clip.uri, clip.member, clip.version) for clip in contents)]
    content = json.dumps(key, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


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
    contents_of: Callable[[str], Sequence[ClipRef] | Container],
    containers: Sequence[Container] = (),
) -> Plan:
    """What is left to do for a listing.

    Args:
        clips: the listing.
        spec_digest: of the table.
        shard_clips: most clips a shard.
        committed: ids of the committed shards.
        contents_of: the clips or the container of a committed shard; called only for those that
            the listing alone does not explain.
        containers: of the listing.
    """
    shards = {
        shard.shard_id: shard for shard in plan_shards(clips, spec_digest, shard_clips, containers)
    }
    done = tuple(sorted(committed))
    if committed <= shards.keys():
        return Plan(tuple(s for s in shards.values() if s.shard_id not in committed), done)
    versions: dict[tuple[str, str], str] = {}
    read: set[Container] = set()
    for each in done:
        known = shards.get(each)
        contents = (known.container or known.clips) if known else contents_of(each)
        if isinstance(contents, Container):
            read.add(contents)
        else:
            versions.update({(clip.uri, clip.member): clip.version for clip in contents})
    # A file that was written anew may be divided anew, and then no part is the same as before.
    stale = {container.uri for container in read.difference(containers)}
    unread = [container for container in containers if container not in read]
    changed: tuple[ClipRef | Container, ...] = (
        *(c for c in clips if versions.get((c.uri, c.member), c.version) != c.version),
        *(container for container in unread if container.uri in stale),
    )
    new = plan_shards(
        (clip for clip in clips if (clip.uri, clip.member) not in versions),
        spec_digest,
        shard_clips,
        (container for container in unread if container.uri not in stale),
    )
    return Plan(tuple(new), done, changed)

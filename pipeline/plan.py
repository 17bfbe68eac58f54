"""A listing to shards, and which of them are still to do.

Clips are sorted and cut into runs of N; a shard's id hashes the table spec and its clips' uris and
versions, never a position, so the same listing in any order plans the same shards and resuming is
one listing of commit records. Only where records are found that this plan does not know (the
source grew, or N changed) are the finished clips looked up one by one.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pipeline.clips import ClipRef


@dataclass(frozen=True, slots=True)
class Shard:
    """The unit of work, of retry and of commit.

    Attributes:
        shard_id: 128-bit hex hash of spec and clips.
        clips: in the order of their rows.
    """

    shard_id: str
    clips: tuple[ClipRef, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run has to do.

    Attributes:
        todo: shards to embed.
        done: ids of the shards that are committed already.
        changed: clips whose committed rows belong to an older version of the file.
    """

    todo: tuple[Shard, ...]
    done: tuple[str, ...]
    changed: tuple[ClipRef, ...] = ()


def shard_id(spec_digest: str, clips: Iterable[ClipRef]) -> str:
    """Id of the shard that holds these clips, whatever their order."""
    rows = sorted((clip.uri, clip.member, clip.version) for clip in clips)
    content = json.dumps([spec_digest, rows], ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def plan_shards(clips: Sequence[ClipRef], spec_digest: str, shard_clips: int) -> list[Shard]:
    """Cut a listing into shards of at most `shard_clips` clips."""
    ordered = sorted(set(clips))
    runs = (tuple(ordered[i : i + shard_clips]) for i in range(0, len(ordered), shard_clips))
    return [Shard(shard_id(spec_digest, run), run) for run in runs]


def plan_run(
    clips: Sequence[ClipRef],
    spec_digest: str,
    shard_clips: int,
    committed: set[str],
    clips_of: Callable[[str], Iterable[ClipRef]],
) -> Plan:
    """What is left to do for a listing.

    Args:
        clips: the listing.
        spec_digest: of the table.
        shard_clips: most clips a shard.
        committed: ids of the committed shards.
        clips_of: the clips of a committed shard; called only where `committed` holds shards that
            the listing alone does not explain.
    """
    shards = plan_shards(clips, spec_digest, shard_clips)
    done = tuple(sorted(committed))
    if committed <= {shard.shard_id for shard in shards}:
        return Plan(tuple(s for s in shards if s.shard_id not in committed), done)
    versions = {(clip.uri, clip.member): clip.version for each in done for clip in clips_of(each)}
    new = [clip for clip in clips if (clip.uri, clip.member) not in versions]
    changed = tuple(
        clip
        for clip in clips
        if versions.get((clip.uri, clip.member), clip.version) != clip.version
    )
    return Plan(tuple(plan_shards(new, spec_digest, shard_clips)), done, changed)

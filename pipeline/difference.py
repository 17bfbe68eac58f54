"""What a listing has beyond a table: new, changed, gone and done, by uri, member and version.

Shards that the listing explains by itself are known by their ids; only of the others is it read
what they hold. Errors count as done: they have their row.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipeline.clips import ClipRef, Container
from pipeline.plan import plan_shards
from pipeline.table import Table

_READERS = 8

Contents = Sequence[ClipRef] | Container
"""What a shard was planned with."""


@dataclass(frozen=True)
class Difference:
    """A listing beside a table; of clips and of containers.

    Attributes:
        new: that the table does not have.
        changed: that it has in another version.
        gone: that the listing does not have.
        done: that both have.
    """

    new: tuple[ClipRef | Container, ...] = ()
    changed: tuple[ClipRef | Container, ...] = ()
    gone: tuple[ClipRef | Container, ...] = ()
    done: tuple[ClipRef | Container, ...] = ()

    @property
    def todo(self) -> tuple[list[ClipRef], list[Container]]:
        """Clips and containers that a run into the table would have to embed, in their order."""
        todo = (*self.new, *self.changed)
        return (
            sorted(
                (each for each in todo if isinstance(each, ClipRef)),
                key=lambda clip: (clip.uri, clip.version, clip.member),
            ),
            sorted(each for each in todo if isinstance(each, Container)),
        )


def difference(
    clips: Iterable[ClipRef], containers: Iterable[Container], held: Iterable[Contents]
) -> Difference:
    """Compare a listing with what the shards of a table hold.

    Args:
        clips: of the listing.
        containers: of the listing.
        held: by each committed shard.
    """
    known: dict[tuple[str, str], ClipRef] = {}
    read: set[Container] = set()
    for contents in held:
        if isinstance(contents, Container):
            read.add(contents)
        else:
            known.update({(clip.uri, clip.member): clip for clip in contents})
    # A file that was written anew may be divided anew, and then no part is the same as before.
    read_uris = {container.uri for container in read}
    new: list[ClipRef | Container] = []
    changed: list[ClipRef | Container] = []
    done: list[ClipRef | Container] = []
    for clip in clips:
        before = known.pop((clip.uri, clip.member), None)
        same = done if before and before.version == clip.version else changed
        (same if before else new).append(clip)
    listed_uris = set()
    for container in containers:
        listed_uris.add(container.uri)
        unread = changed if container.uri in read_uris else new
        (done if container in read else unread).append(container)
    gone = (*known.values(), *sorted(each for each in read if each.uri not in listed_uris))
    return Difference(tuple(new), tuple(changed), gone, tuple(done))


def held_by(
    table: Table,
    clips: Iterable[ClipRef],
    containers: Iterable[Container],
    shard_clips: int,
    on_progress: Callable[[int], None] = lambda _: None,
) -> list[Contents]:
    """What the committed shards of a table hold.

    Args:
        table: to look into.
        clips: of a listing, which most shards are probably made of.
        containers: of it.
        shard_clips: clips a shard, as a run would cut the listing.
        on_progress: told how many shards have been read.

    Raises:
        StoreError: the table cannot be read.
    """
    shards = plan_shards(clips, table.spec.digest, shard_clips, containers)
    planned = {shard.shard_id: shard.container or shard.clips for shard in shards}
    committed = table.committed()
    held: list[Contents] = [planned[each] for each in committed & planned.keys()]
    with ThreadPoolExecutor(_READERS) as pool:
        for n, contents in enumerate(pool.map(table.contents_of, sorted(committed - planned.keys()))):
            held.append(contents)
            on_progress(n + 1)
    return held

"""The shard: the unit of work, of retry and of commit."""

import dataclasses
import hashlib
import json
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline.clips import ClipRef, Container

_fields_of = operator.attrgetter(*(field.name for field in dataclasses.fields(ClipRef)))


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


def shard_id(spec_digest: str, contents: Iterable[ClipRef] | Container) -> str:
    """Id of the shard that holds these clips, whatever their order, or this container."""
    if isinstance(contents, Container):
        key: list[object] = [spec_digest, contents.uri, contents.part, contents.version]
    else:
        key = [spec_digest, sorted((clip.uri, clip.member, clip.version) for clip in contents)]
    content = json.dumps(key, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


Rank = tuple[int, float, str]
"""Order in which shards keep a clip that several have: the shard of the least rank keeps it."""

"""Shards: the units of work, of retry and of commit."""

import dataclasses
import hashlib
import json
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline.clips import ClipRef, Container

_field_values = operator.attrgetter(*(field.name for field in dataclasses.fields(ClipRef)))


@dataclass(frozen=True, slots=True)
class Shard:
    """The unit of work, of retry and of commit.

    Attributes:
        shard_id: 128-bit hash in hex of the spec and the clips, or of the spec and the container.
        clips: Clips in the order of their rows. Empty if the shard reads a container.
        container: Container that the clips are read from, or None for listed clips.
    """

    shard_id: str
    clips: tuple[ClipRef, ...]
    container: Container | None = None

    @property
    def n_clips(self) -> int | None:
        """Number of clips, or None if only reading the container can determine it."""
        return self.container.n_clips if self.container else len(self.clips)

    @property
    def n_bytes(self) -> int | None:
        """Total of the file sizes that the listing knows, in bytes, or None if it knows none."""
        if self.container:
            return self.container.n_bytes
        sizes = [clip.n_bytes for clip in self.clips if clip.n_bytes is not None]
        return sum(sizes) if sizes else None

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickling shards is most of a driver's work. The default way pickles each clip in Python,
        # field by field, at ten times the cost.
        return _restore_shard, (self.shard_id, list(map(_field_values, self.clips)), self.container)


def _restore_shard(
    shard_id: str, clips: Iterable[tuple[Any, ...]], container: Container | None
) -> Shard:
    return Shard(shard_id, tuple(ClipRef(*fields) for fields in clips), container)


def shard_id(spec_digest: str, contents: Iterable[ClipRef] | Container) -> str:
    """Return the id of the shard that holds these clips, in any order, or this container."""
    if isinstance(contents, Container):
        key: list[object] = [spec_digest, contents.uri, contents.part, contents.version]
    else:
        key = [spec_digest, sorted((clip.uri, clip.member, clip.version) for clip in contents)]
    content = json.dumps(key, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


Rank = tuple[int, float, str]
"""Sort key that decides between shards with the same clip: the lowest rank keeps the clip."""

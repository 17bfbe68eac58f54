"""A shard as a stream of recordings: which clip it is, and how to open its bytes.

A listed clip is opened where it lies. A container is read once, from its start to its end, by the
reader of its kind; what cannot be read of it is a recording that cannot be opened, so that it ends
in `errors` like any other.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import BinaryIO, NamedTuple

from pipeline.clips import ClipRef, Container
from pipeline.opening import opened
from pipeline.plan import Shard
from pipeline.prefetch import N_AHEAD, Job, Prefetcher
from pipeline.remote_opening import fetched
from pipeline.storage import DEFAULT_STORAGE, Storage, is_remote


class Recording(NamedTuple):
    """One clip of a shard.

    Attributes:
        ref: the clip.
        open: its bytes, of which there may be so many, as a file with a descriptor, for as long as
            the stream of recordings stands at it. Raises ClipError.
    """

    ref: ClipRef
    open: Callable[[int], AbstractContextManager[BinaryIO]]


def recordings(
    shard: Shard, storage: Storage, columns: tuple[str, ...] = ()
) -> Iterator[Recording]:
    """The recordings of a shard, in order.

    Args:
        shard: what to read.
        storage: how remote locations are reached.
        columns: of the table, that containers are to carry.
    """
    if shard.container is not None:
        yield from of_container(shard.container, storage, columns)
    else:
        yield from of_clips(shard.clips, storage)


def of_container(
    container: Container, storage: Storage = DEFAULT_STORAGE, columns: tuple[str, ...] = ()
) -> Iterator[Recording]:
    """The recordings of a container, by the reader of its kind."""
    # Here, because the readers make `Recording`s.
    from pipeline.parquet_reader import parquet_recordings
    from pipeline.tar_reader import tar_recordings

    readers = {"parquet": parquet_recordings, "tar": tar_recordings}
    assert container.kind in readers, f"no reader of {container.kind!r}"
    return readers[container.kind](container, storage, columns)


def of_clip(ref: ClipRef, storage: Storage = DEFAULT_STORAGE) -> Recording:
    """A listed clip as a recording."""
    return Recording(ref, partial(opened, ref, storage))


def of_clips(clips: Iterable[ClipRef], storage: Storage = DEFAULT_STORAGE) -> Iterator[Recording]:
    """Listed clips as recordings; remote ones are fetched some ahead."""
    prefetcher = Prefetcher(lambda ref, admit: fetched(ref, storage, admit))
    rest = iter(clips)
    ahead = deque[tuple[ClipRef, Job | None]]()
    try:
        while True:
            for ref in itertools.islice(rest, N_AHEAD - len(ahead)):
                ahead.append((ref, prefetcher.start(ref) if is_remote(ref.uri) else None))
            if not ahead:
                return
            ref, job = ahead.popleft()
            if job is None:
                yield of_clip(ref, storage)
                continue
            with prefetcher.turn(job) as open_it:
                yield Recording(ref, open_it)
    finally:
        prefetcher.close()

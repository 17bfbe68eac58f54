"""A shard as a stream of recordings: the audio files of its clips, one after the other.

A listed clip is opened in place. A container is read once, from its start to its end, by the reader
of its kind. An unreadable part of it is a recording that cannot be opened, so that it ends in
`errors` like any other.
"""

import dataclasses
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial

from pipeline.clips import ClipRef, Container, group_by_recording
from pipeline.io.protocols import is_remote
from pipeline.io.storage import DEFAULT_STORAGE, Storage
from pipeline.readers.clip_file import check_unchanged, open_clip
from pipeline.readers.download import download
from pipeline.readers.intake import Intake
from pipeline.readers.prefetch import N_AHEAD, Job, Prefetcher
from pipeline.readers.recording import Recording
from pipeline.shards import Shard


def shard_recordings(
    shard: Shard,
    storage: Storage,
    columns: tuple[str, ...] = (),
    intake: Intake | None = None,
) -> Iterator[Recording]:
    """Yield the recordings of a shard, in order.

    Args:
        shard: The shard.
        storage: Access to remote locations.
        columns: Columns of the table that containers carry.
        intake: Limits of reading containers, and counts of skipped members.
    """
    if shard.container is not None:
        yield from container_recordings(shard.container, storage, columns, intake)
    else:
        yield from clip_recordings(shard.clips, storage)


def container_recordings(
    container: Container,
    storage: Storage = DEFAULT_STORAGE,
    columns: tuple[str, ...] = (),
    intake: Intake | None = None,
) -> Iterator[Recording]:
    """Return the recordings of a container, by the reader of its kind."""
    # Not at the top: most decode processes read plain files, and start faster without them.
    from pipeline.readers.parquet_reader import parquet_recordings
    from pipeline.readers.tar.reader import tar_recordings

    readers = {"parquet": parquet_recordings, "tar": tar_recordings}
    assert container.kind in readers, f"no reader of {container.kind!r}"
    return readers[container.kind](container, storage, columns, intake)


def clip_recording(ref: ClipRef, storage: Storage = DEFAULT_STORAGE) -> Recording:
    """Return a listed clip as a recording."""
    return Recording((ref,), partial(open_clip, ref, storage))


def clip_recordings(
    clips: Iterable[ClipRef], storage: Storage = DEFAULT_STORAGE
) -> Iterator[Recording]:
    """Yield the recordings of listed clips; a remote file is downloaded once for all of its clips.

    Args:
        clips: Clips, those of a file one after the other.
        storage: Access to remote locations. A few files are downloaded ahead.
    """
    prefetcher = Prefetcher(lambda ref, admit: download(ref, storage, admit))
    rest = group_by_recording(clips)
    ahead = deque[tuple[tuple[ClipRef, ...], Job | None]]()
    try:
        while True:
            for refs in itertools.islice(rest, N_AHEAD - len(ahead)):
                job = prefetcher.start(_whole(refs)) if is_remote(refs[0].uri) else None
                ahead.append((refs, job))
            if not ahead:
                return
            refs, job = ahead.popleft()
            check = partial(check_unchanged, refs[0])
            if job is None:
                yield Recording(refs, partial(open_clip, _whole(refs), storage), check)
            else:
                with prefetcher.turn(job) as open_download:
                    yield Recording(refs, open_download, check)
    finally:
        prefetcher.close()


def _whole(refs: tuple[ClipRef, ...]) -> ClipRef:
    """Return the file that clips are cut from; a single clip stands for its own file."""
    return refs[0] if len(refs) == 1 else dataclasses.replace(refs[0], member="", span=None)

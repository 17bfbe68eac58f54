"""Recordings that are read only where their headers need it, for planning.

A listed file and the members of a plain tar are read lazily. A compressed tar, and the audio column
of Parquet, can only be read from end to end.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from pipeline.clips import ClipRef, Container
from pipeline.errors import ClipError
from pipeline.host_faults import read_fault
from pipeline.io.decompress import compression_of
from pipeline.io.storage import Storage
from pipeline.readers.container_file import (
    damage_error,
    spool_to_file,
    unreadable_clip,
    unreadable_part,
)
from pipeline.readers.intake import Intake
from pipeline.readers.lazy_file import open_clip_lazily, open_lazily
from pipeline.readers.recording import Recording
from pipeline.readers.shard_reader import container_recordings
from pipeline.readers.tar.links import HardLinks, Names
from pipeline.readers.tar.members import DAMAGE, Member, members
from pipeline.readers.tar.reader import check_member, kind_of_metadata


def lazy_recording(clips: tuple[ClipRef, ...], storage: Storage) -> Recording:
    """Return listed clips of one file as a recording whose bytes are read where they are needed."""
    return Recording(clips, partial(open_clip_lazily, clips[0], storage))


def lazy_recordings(
    container: Container, storage: Storage, intake: Intake | None = None
) -> Iterator[Recording]:
    """Yield the recordings of a container, to be probed one by one.

    Damage is reported as by `container_recordings`.

    Args:
        container: The container.
        storage: Access to remote locations.
        intake: Limits of reading, and counts of skipped members.

    Raises:
        StoreError: The store does not answer.
    """
    intake = intake or Intake()
    if container.kind != "tar":
        yield from container_recordings(container, storage, intake=intake)
        return
    ref = ClipRef(container.uri, container.version, n_bytes=container.n_bytes)
    try:
        with open_clip_lazily(ref, storage) as file:
            if not compression_of(file):
                yield from _plain_tar(container, file, intake)
                return
    except ClipError as error:
        yield unreadable_part(container, error)
        return
    yield from container_recordings(container, storage, intake=intake)


def _plain_tar(container: Container, file: BinaryIO, intake: Intake) -> Iterator[Recording]:
    last = ""
    names = Names()
    links = HardLinks(names)
    rest: ClipError | None = None
    try:
        for member in members(file, intake):
            member.require_whole()
            last = member.name
            kind = kind_of_metadata(member) if member.is_audio else ""
            if kind or not member.is_audio:
                intake.pass_over(member.name, kind)
            elif member.target:
                links.add(member)
            else:
                yield _member(container, member, names.new(member.name), file)
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise read_fault(container.uri, error) from error
        where = f"damaged after the start of member {last!r}" if last else "is not a sound tar"
        rest = damage_error(container, where, error)
    if links:
        yield from _linked(container, links, file)
    if rest:
        raise rest


def _linked(container: Container, links: HardLinks, file: BinaryIO) -> Iterator[Recording]:
    with contextlib.suppress(*DAMAGE):  # the first reading has reported it
        for member, linked in links.found_in(members(file)):
            yield from (_member(container, member, link.name, file) for link in linked)
    for link, error in links.dangling():
        yield unreadable_clip(ClipRef(container.uri, container.version, link.name), error)


def _member(container: Container, member: Member, name: str, file: BinaryIO) -> Recording:
    ref = ClipRef(container.uri, container.version, name, byte_range=member.byte_range)

    @contextlib.contextmanager
    def opened(max_bytes: int) -> Iterator[BinaryIO]:
        if not member.size:
            raise ClipError("read", "empty", f"{ref.name}: is empty (0 bytes)")
        check_member(container, member, max_bytes)
        if member.byte_range is None:
            with spool_to_file(member.pieces(), member.size) as content:
                yield content
            return
        first = member.byte_range[0]
        at = file.tell()

        def fetch(start: int, end: int) -> bytes:
            file.seek(first + start)
            return file.read(end - start)

        try:
            with open_lazily(member.size, fetch) as head:
                yield head
        finally:
            file.seek(at)

    return Recording((ref,), opened)

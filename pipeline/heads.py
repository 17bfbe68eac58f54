"""Recordings as `recordings` has them, but only to look into: what is not looked at is not read.

A listed file and the members of a plain tar are read where somebody looks. A compressed tar, and
the audio column of Parquet, can only be read from end to end.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import BinaryIO

from pipeline.clips import ClipRef, Container
from pipeline.containers import damaged, held, rest_of
from pipeline.errors import ClipError
from pipeline.head_file import looked_into, opened_head
from pipeline.recordings import Recording, of_container
from pipeline.remote_opening import check_size
from pipeline.storage import Storage
from pipeline.tar_members import DAMAGE, Member, is_plain, members_without_content


def head_of(ref: ClipRef, storage: Storage) -> Recording:
    """A listed file as a recording to look into."""
    return Recording(ref, partial(opened_head, ref, storage))


def heads_in(container: Container, storage: Storage) -> Iterator[Recording]:
    """The recordings of a container, to look into one by one; damage as `of_container` has it.

    Raises:
        StoreError: the store does not answer.
    """
    if container.kind != "tar":
        yield from of_container(container, storage)
        return
    ref = ClipRef(container.uri, container.version, n_bytes=container.n_bytes)
    try:
        with opened_head(ref, storage) as file:
            if is_plain(file):
                yield from _plain_tar(container, file)
                return
    except ClipError as error:
        yield rest_of(container, error)
        return
    yield from of_container(container, storage)


def _plain_tar(container: Container, file: BinaryIO) -> Iterator[Recording]:
    last, n_bytes = "", file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        for member in members_without_content(file):
            if member.byte_range and sum(member.byte_range) > n_bytes:
                raise EOFError("unexpected end of data")
            last = member.name
            if member.is_audio:
                yield _member(container, member, file)
    except DAMAGE as error:
        where = f"damaged after the start of member {last!r}" if last else "is not a sound tar"
        raise damaged(container, where, error) from error


def _member(container: Container, member: Member, file: BinaryIO) -> Recording:
    ref = ClipRef(container.uri, container.version, member.name, byte_range=member.byte_range)

    @contextlib.contextmanager
    def opened(max_bytes: int) -> Iterator[BinaryIO]:
        if not member.size:
            raise ClipError("read", "empty", f"{ref.name}: is empty (0 bytes)")
        check_size(ref, max_bytes, member.size)
        if member.byte_range is None:
            with held(member.pieces(), member.size) as content:
                yield content
            return
        first = member.byte_range[0]
        at = file.tell()

        def fetch(start: int, end: int) -> bytes:
            file.seek(first + start)
            return file.read(end - start)

        try:
            with looked_into(member.size, fetch) as head:
                yield head
        finally:
            file.seek(at)

    return Recording(ref, opened)


def by_recording(clips: Iterable[ClipRef]) -> Iterator[tuple[ClipRef, ...]]:
    """Clips that are cut from one recording together, others alone; the order is kept.

    Args:
        clips: sorted by uri and version.
    """
    group: list[ClipRef] = []
    for clip in clips:
        if group and (clip.uri, clip.version) != (group[0].uri, group[0].version):
            yield tuple(group)
            group = []
        group.append(clip)
    if group:
        yield tuple(group)

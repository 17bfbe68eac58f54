"""The recordings of a tar, in one pass from its start to its end.

Members are grouped into samples by WebDataset's rule: consecutive members that share their name up
to the first dot of its last part. Members with an audio ending are clips; the others are texts
about them. A clip of a plain tar has its byte range, so that it can be fetched alone; compressed
tars have no ranges. Hard links come last; see `links`.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

from pipeline.clips import ClipRef, Container
from pipeline.errors import ClipError
from pipeline.host_faults import host_fault
from pipeline.io.storage import Storage
from pipeline.readers.apple_double import APPLE_DOUBLE, APPLE_DOUBLE_KIND, is_apple_double
from pipeline.readers.checks import check_size
from pipeline.readers.container_file import (
    damage_error,
    open_container,
    rewound,
    spool_to_file,
    unreadable_clip,
    unreadable_part,
)
from pipeline.readers.intake import Intake
from pipeline.readers.recording import Recording
from pipeline.readers.system_folders import system_folder
from pipeline.readers.tar.links import HardLinks, Names
from pipeline.readers.tar.members import DAMAGE, Member, members

TAR_ENDINGS = (
    *(".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz"),
    *(".tar.zst", ".tzst"),
)
DEFAULT_COLUMNS = ("json", "txt", "cls")
"""Endings of the members that are carried by default, where a tar has them."""
SIDECAR_BYTES = 1 << 20
"""Largest text in bytes that a row carries; longer texts are null."""
HELD_BYTES, HELD_MEMBERS = 64 << 20, 32
"""Bytes and members of one sample that wait for its texts; more do not wait."""
SPARSE_BYTES, SPARSE_RATIO = 1 << 30, 1000
"""A sparse member of more bytes, and more than this multiple of its stored bytes, is an error."""
_PEEK_MEMBERS, _PEEK_BYTES = 64, 64 << 20


@dataclass
class _Sample:
    """The members read so far of a sample: spooled audio or its error, and texts by ending."""

    key: str = ""
    audio: list[tuple[Member, BinaryIO | ClipError | None]] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        size = sum(member.size for member, _ in self.audio)
        return size >= HELD_BYTES or len(self.audio) >= HELD_MEMBERS


def tar_recordings(
    container: Container,
    storage: Storage,
    columns: tuple[str, ...] = (),
    intake: Intake | None = None,
) -> Iterator[Recording]:
    """Yield the recordings of a tar, in its order.

    If the tar is damaged, or not of the listed version, the last recording stands for the rest. A
    name that comes again gets `#2`, `#3` and so on.

    Args:
        container: The tar.
        storage: Access to remote locations.
        columns: Endings of the members whose text a sample's audio carries.
        intake: Limits of reading, and counts of skipped members.

    Raises:
        StoreError: The store does not answer.
    """
    names = Names()
    links = HardLinks(names)
    intake = intake or Intake()
    try:
        with open_container(container, storage, reads_on=True) as file:
            rest: ClipError | None = None
            try:
                for sample in _samples(container, file, columns, intake):
                    yield from _sample_recordings(container, sample, columns, names, links)
            except ClipError as error:
                if error.error_class != "damaged_container":
                    raise
                rest = error
            if links:
                yield from _link_recordings(container, file, links, intake)
            if rest:
                raise rest
    except ClipError as error:
        yield unreadable_part(container, error)


def _sample_recordings(
    container: Container,
    sample: _Sample,
    columns: tuple[str, ...],
    names: Names,
    links: HardLinks,
) -> Iterator[Recording]:
    carried = tuple(sample.texts.get(ending) for ending in columns)
    while sample.audio:
        member, content = sample.audio.pop(0)
        if content is None:
            try:
                links.add(member, carried)
            except ValueError as error:
                raise damage_error(container, f"at member {member.name!r}", error) from error
            continue
        ref = _ref(container, names.new(member.name), member, carried)
        if isinstance(content, ClipError):
            yield unreadable_clip(ref, content)
            continue
        with content:
            yield Recording((ref,), partial(rewound, ref, content))


def _link_recordings(
    container: Container, file: BinaryIO, links: HardLinks, intake: Intake
) -> Iterator[Recording]:
    """Yield the clips of hard links, from a second reading of the tar."""
    try:
        for member, linked in links.found_in(members(file)):
            content = _content(container, member, intake)
            refs = [_ref(container, link.name, member, link.carried) for link in linked]
            if isinstance(content, ClipError):
                yield from (unreadable_clip(ref, content) for ref in refs)
                continue
            with content:
                for ref in refs:
                    yield Recording((ref,), partial(rewound, ref, content))
    except DAMAGE:
        pass  # the first reading has reported it
    for link, error in links.dangling():
        ref = ClipRef(container.uri, container.version, link.name, carried=link.carried)
        yield unreadable_clip(ref, error)


def _ref(
    container: Container, name: str, member: Member, carried: tuple[str | None, ...]
) -> ClipRef:
    return ClipRef(
        container.uri, container.version, name, byte_range=member.byte_range, carried=carried
    )


def _content(container: Container, member: Member, intake: Intake) -> BinaryIO | ClipError:
    """Spool a member's bytes; return an error if it may not be read."""
    try:
        check_member(container, member, intake.max_clip_bytes)
    except ClipError as error:
        return error
    return spool_to_file(member.pieces(), member.size)


def check_member(container: Container, member: Member, max_bytes: int) -> None:
    """Check by its header that a member may be read.

    Raises:
        ClipError: The member is too large, or sparse with far more bytes than are stored.
    """
    ref = ClipRef(container.uri, container.version, member.name)
    check_size(ref, max_bytes, member.size)
    if member.size > SPARSE_BYTES and member.size > SPARSE_RATIO * member.stored:
        raise ClipError(
            "read",
            "too_sparse",
            f"{ref.name}: is a sparse member of {member.size} bytes, of which the tar stores "
            f"{member.stored}; unpack the tar and look at the file",
        )


def text_endings(container: Container, storage: Storage) -> set[str] | None:
    """Find which of `DEFAULT_COLUMNS` the first samples of a tar have.

    Returns:
        The endings; None where no sample can be read.

    Raises:
        StoreError: The store does not answer.
    """
    endings, read, is_sound = set[str](), 0, False
    try:
        with open_container(container, storage) as file:
            for n, member in enumerate(members(file)):
                is_sound = True
                endings.add(member.ending)
                read += member.size
                if n >= _PEEK_MEMBERS or read >= _PEEK_BYTES:
                    break
    except (ClipError, *DAMAGE):
        pass
    return endings & set(DEFAULT_COLUMNS) if is_sound else None


def _samples(
    container: Container, file: BinaryIO, columns: tuple[str, ...], intake: Intake
) -> Iterator[_Sample]:
    """Yield samples with audio; the caller takes the audio out and closes it."""
    sample, last = _Sample(), ""
    try:
        for member in members(file, intake):
            last = member.name
            if member.key != sample.key:
                yield sample
                sample = _Sample(member.key)
            if member.is_audio:
                if kind := kind_of_metadata(member):
                    intake.pass_over(member.name, kind)
                    continue
                content = None if member.target else _content(container, member, intake)
                sample.audio.append((member, content))
                if not columns or sample.is_full:
                    yield sample
            elif member.ending not in columns or member.target:
                intake.pass_over(member.name)
            elif member.size <= SIDECAR_BYTES:
                sample.texts[member.ending] = member.read().decode(errors="replace")
    except ClipError:
        yield sample
        raise
    except DAMAGE as error:
        if fault := host_fault(error):
            raise fault from error
        # The sample's texts may be lost; the error reports the damage.
        yield sample
        where = f"damaged after the start of member {last!r}" if last else "is not a sound tar"
        raise damage_error(container, where, error) from error
    else:
        yield sample
    finally:
        for _, content in sample.audio:
            if isinstance(content, io.IOBase):
                content.close()


def kind_of_metadata(member: Member) -> str:
    """Return the kind of a member that has an audio ending but is no clip; empty for a clip.

    Such members are AppleDouble files, and files in folders of operating systems.

    Raises:
        EOFError: The tar ends at its first bytes.
    """
    folder, slash, base = member.name.rpartition("/")
    if slash and (system := system_folder(folder)):
        return f"{system}/"
    if base.startswith("._") and is_apple_double(member.first_bytes(len(APPLE_DOUBLE))):
        return APPLE_DOUBLE_KIND
    return ""

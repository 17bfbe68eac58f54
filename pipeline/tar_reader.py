"""A tar as recordings, in one pass from its start to its end.

Members are grouped into samples by WebDataset's rule: those that follow one another and share their
name up to the first dot of its last part. Members with an audio ending are clips, the others say
something of them. A plain tar's clips know where they lie in it, so that one can be fetched by
range; in a compressed tar nothing can be.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

from pipeline.clips import ClipRef, Container
from pipeline.containers import damaged, from_start, held, opened_container, rest_of
from pipeline.errors import ClipError
from pipeline.recordings import Recording
from pipeline.storage import Storage
from pipeline.tar_members import DAMAGE, Member, members

TAR_ENDINGS = (
    *(".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz"),
    *(".tar.zst", ".tzst"),
)
DEFAULT_COLUMNS = ("json", "txt", "cls")
"""Endings of the members that are carried where they are found, if nothing else is asked for."""
SIDECAR_BYTES = 1 << 20
"""Most bytes of text that a row carries; longer ones are null."""
HELD_BYTES, HELD_MEMBERS = 64 << 20, 32
"""Audio of one sample that waits for its texts; the first of more goes on without those to come."""
_PEEK_MEMBERS, _PEEK_BYTES = 64, 64 << 20


@dataclass
class _Sample:
    """What has been read of a sample: held audio, and texts by ending."""

    key: str = ""
    audio: list[tuple[Member, BinaryIO]] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        size = sum(member.size for member, _ in self.audio)
        return size >= HELD_BYTES or len(self.audio) >= HELD_MEMBERS


def tar_recordings(
    container: Container, storage: Storage, columns: tuple[str, ...] = ()
) -> Iterator[Recording]:
    """The recordings of a tar, in its order.

    Where the tar is damaged, or is not what was listed, the last recording stands for the rest.
    A name that comes again is told apart by `#2`, `#3` and so on.

    Args:
        container: the tar.
        storage: how remote locations are reached.
        columns: endings of the members whose text goes with a sample's audio.

    Raises:
        StoreError: the store does not answer.
    """
    names = set[str]()
    try:
        with opened_container(container, storage, reads_on=True) as file:
            for sample in _samples(container, file, columns):
                carried = tuple(sample.texts.get(ending) for ending in columns)
                while sample.audio:
                    member, content = sample.audio.pop(0)
                    ref = ClipRef(
                        container.uri,
                        container.version,
                        _new_name(member.name, names),
                        byte_range=member.byte_range,
                        carried=carried,
                    )
                    with content:
                        yield Recording(ref, partial(from_start, ref, content))
    except ClipError as error:
        yield rest_of(container, error)


def text_endings(container: Container, storage: Storage) -> set[str] | None:
    """Which of `DEFAULT_COLUMNS` the first samples of a tar have.

    Returns:
        None where no sample can be read.

    Raises:
        StoreError: the store does not answer.
    """
    endings, read, is_sound = set[str](), 0, False
    try:
        with opened_container(container, storage) as file:
            for n, member in enumerate(members(file)):
                is_sound = True
                endings.add(member.ending)
                read += member.size
                if n >= _PEEK_MEMBERS or read >= _PEEK_BYTES:
                    break
    except (ClipError, *DAMAGE):
        pass
    return endings & set(DEFAULT_COLUMNS) if is_sound else None


def _samples(container: Container, file: BinaryIO, columns: tuple[str, ...]) -> Iterator[_Sample]:
    """Samples with audio; the caller takes the audio out and closes it."""
    sample, last = _Sample(), ""
    try:
        for member in members(file):
            last = member.name
            if member.key != sample.key:
                yield sample
                sample = _Sample(member.key)
            if member.is_audio:
                sample.audio.append((member, held(member.pieces(), member.size)))
                if not columns or sample.is_full:
                    yield sample
            elif member.ending in columns and member.size <= SIDECAR_BYTES:
                sample.texts[member.ending] = member.content.read().decode(errors="replace")
    except ClipError:
        yield sample
        raise
    except DAMAGE as error:
        # Its texts may be among what is lost; the error says that something is.
        yield sample
        where = f"damaged after the start of member {last!r}" if last else "is not a sound tar"
        raise damaged(container, where, error) from error
    else:
        yield sample
    finally:
        for _, content in sample.audio:
            content.close()


def _new_name(name: str, names: set[str]) -> str:
    new, n = name, 1
    while new in names:
        n += 1
        new = f"{name}#{n}"
    names.add(new)
    return new

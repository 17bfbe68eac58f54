"""A tar as recordings, in one pass from its start to its end.

Members are grouped into samples by WebDataset's rule: those that follow one another and share their
name up to the first dot of its last part. Members with an audio ending are clips, the others say
something of them. A plain tar's clips know where they lie in it, so that one can be fetched by
range; in a compressed tar nothing can be.

The standard library's reader takes a damaged header, or a missing end mark, for the end; here they
are errors, as is whatever follows the end mark.
"""

import bz2
import gzip
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any, BinaryIO
from urllib.parse import quote

from pipeline.clips import ClipRef, Container
from pipeline.containers import causes, damaged, from_start, held, opened_container, rest_of
from pipeline.errors import ClipError, StoreError
from pipeline.recordings import Recording
from pipeline.sources.files import AUDIO_ENDINGS
from pipeline.storage import Storage

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
_BZ2 = re.compile(rb"BZh[1-9]1AY&SY")
_DAMAGE = (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True)
class _Member:
    """A regular member: its name, how to read it, and where it lies if a range can fetch it."""

    name: str
    content: IO[bytes]
    size: int
    byte_range: tuple[int, int] | None

    @property
    def key(self) -> str:
        return split_name(self.name)[0]

    @property
    def ending(self) -> str:
        return split_name(self.name)[1]

    @property
    def is_audio(self) -> bool:
        return "." + self.ending.rpartition(".")[2] in AUDIO_ENDINGS


@dataclass
class _Sample:
    """What has been read of a sample: held audio, and texts by ending."""

    key: str = ""
    audio: list[tuple[_Member, BinaryIO]] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        size = sum(member.size for member, _ in self.audio)
        return size >= HELD_BYTES or len(self.audio) >= HELD_MEMBERS


def split_name(name: str) -> tuple[str, str]:
    """A member's sample, and its ending in lower case: `a/b.left.WAV` is `a/b` and `left.wav`."""
    folder, slash, base = name.rpartition("/")
    # A dot at the start is a part of the name.
    stem, _, ending = base[1:].partition(".")
    return folder + slash + base[:1] + stem, ending.lower()


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
        with opened_container(container, storage) as file:
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
            for n, member in enumerate(_members(container, file)):
                is_sound = True
                endings.add(member.ending)
                read += member.size
                if n >= _PEEK_MEMBERS or read >= _PEEK_BYTES:
                    break
    except (ClipError, *_DAMAGE) as error:
        _raise_outage(error)
    return endings & set(DEFAULT_COLUMNS) if is_sound else None


def _samples(container: Container, file: BinaryIO, columns: tuple[str, ...]) -> Iterator[_Sample]:
    """Samples with audio; the caller takes the audio out and closes it."""
    sample, last = _Sample(), ""
    try:
        for member in _members(container, file):
            last = member.name
            if member.key != sample.key:
                yield sample
                sample = _Sample(member.key)
            if member.is_audio:
                sample.audio.append((member, held(member.content, member.size)))
                if not columns or sample.is_full:
                    yield sample
            elif member.ending in columns and member.size <= SIDECAR_BYTES:
                sample.texts[member.ending] = member.content.read().decode(errors="replace")
    except (ClipError, *_DAMAGE) as error:
        # Its texts may be among what is lost; the error says that something is.
        yield sample
        where = f"damaged after the start of member {last!r}" if last else "is not a sound tar"
        raise damaged(container, where, error) from error
    else:
        yield sample
    finally:
        for _, content in sample.audio:
            content.close()


def _members(container: Container, file: BinaryIO) -> Iterator[_Member]:
    """Regular members; links and folders have no bytes of their own and are passed over."""
    stream, is_plain = _decompressed(file)
    archive: Any = tarfile.open(  # noqa: SIM115 (closed below)
        fileobj=stream,
        mode="r|",
        bufsize=1 << 20,
        tarinfo=_StrictTarInfo,
        encoding="utf-8",
        errors="surrogateescape",
    )
    with archive:
        while (info := archive.next()) is not None:
            # It would keep every header of the tar.
            archive.members.clear()
            if info.isreg():
                in_one_piece = is_plain and not info.issparse()
                yield _Member(
                    _utf8(info.name),
                    archive.extractfile(info),
                    info.size,
                    (info.offset_data, info.size) if in_one_piece else None,
                )
        while rest := archive.fileobj.read(1 << 20):
            if rest.strip(b"\0"):
                raise damaged(
                    container, "has data after its end mark, as if tars had been put together"
                )


class _StrictTarInfo(tarfile.TarInfo):
    """A header that is not sound is an error, not the end."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> "_StrictTarInfo":
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.HeaderError as error:
            if isinstance(error, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
                raise
            what = str(error) if str(error) != "empty header" else "the end mark is missing"
            raise tarfile.ReadError(what) from error


def _decompressed(file: BinaryIO) -> tuple[Any, bool]:
    """A tar's own bytes, and whether they are the file's."""
    magic = file.read(10)
    file.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file), False
    if _BZ2.match(magic):
        return bz2.BZ2File(file), False
    if magic.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMAFile(file), False
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow as pa  # only where there is zstd: it takes long to import

        return pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd"), False
    return file, True


def _raise_outage(error: Exception) -> None:
    """A store that is out of order says nothing of the tar."""
    for reason in causes(error):
        if isinstance(reason, StoreError):
            raise reason


def _utf8(name: str) -> str:
    """A name that UTF-8 can write; others are percent-encoded."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return quote(name.encode(errors="surrogateescape"))
    return name


def _new_name(name: str, names: set[str]) -> str:
    new, n = name, 1
    while new in names:
        n += 1
        new = f"{name}#{n}"
    names.add(new)
    return new

"""The members of a tar as a stream, from its start to its end; for `tar_reader`.

The standard library's reader takes a damaged header, or a missing end mark, for the end; here they
are errors, as is whatever follows the end mark.
"""

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, BinaryIO
from urllib.parse import quote

from pipeline.sources.patterns import AUDIO_ENDINGS

DAMAGE = (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, lzma.LZMAError)
"""What reading a tar raises where it is damaged."""
PIECE_BYTES = 1 << 20
_BZ2 = re.compile(rb"BZh[1-9]1AY&SY")


@dataclass(frozen=True)
class Member:
    """A regular member.

    Attributes:
        name: as the tar has it; percent-encoded where UTF-8 cannot write it.
        content: its bytes, until the next member is asked for.
        size: in bytes.
        byte_range: first byte in the file, and size, where it lies there in one piece.
    """

    name: str
    content: IO[bytes]
    size: int
    byte_range: tuple[int, int] | None

    @property
    def key(self) -> str:
        """Of its sample."""
        return split_name(self.name)[0]

    @property
    def ending(self) -> str:
        """What follows the first dot of its name, in lower case."""
        return split_name(self.name)[1]

    @property
    def is_audio(self) -> bool:
        """Whether it is a clip, by the last part of its ending."""
        return "." + self.ending.rpartition(".")[2] in AUDIO_ENDINGS

    def pieces(self) -> Iterator[bytes]:
        """Its bytes."""
        return iter(lambda: self.content.read(PIECE_BYTES), b"")


def split_name(name: str) -> tuple[str, str]:
    """A member's sample, and its ending in lower case: `a/b.left.WAV` is `a/b` and `left.wav`."""
    folder, slash, base = name.rpartition("/")
    # A dot at the start is a part of the name.
    stem, _, ending = base[1:].partition(".")
    return folder + slash + base[:1] + stem, ending.lower()


def members(file: BinaryIO) -> Iterator[Member]:
    """Regular members; links and folders have no bytes of their own and are passed over.

    Args:
        file: the tar, plain or compressed by gzip, bzip2, xz or zstd; it can be seeked.

    Raises:
        DAMAGE: any of it; reading a member's content does too.
    """
    stream, is_plain = _decompressed(file)
    archive: Any = tarfile.open(  # noqa: SIM115 (closed below)
        fileobj=stream,
        mode="r|",
        bufsize=1 << 16,  # of more, each header would copy what is left
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
                yield Member(
                    _utf8(info.name),
                    archive.extractfile(info),
                    info.size,
                    (info.offset_data, info.size) if in_one_piece else None,
                )
        _refuse_more(archive.fileobj)


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


def is_plain(file: BinaryIO) -> bool:
    """Whether a tar's bytes are the file's; its position is moved to the start."""
    return _decompressed(file)[1]


def members_without_content(file: BinaryIO) -> Iterator[Member]:
    """Regular members of a plain tar, whose content is passed over.

    It is there for those alone that do not lie in one piece; the others are known by their range.

    Args:
        file: the tar, plain; it can be seeked.

    Raises:
        DAMAGE: any of it.
    """
    archive: Any = tarfile.open(  # noqa: SIM115 (closed below)
        fileobj=file,
        mode="r:",
        tarinfo=_StrictTarInfo,
        encoding="utf-8",
        errors="surrogateescape",
    )
    with archive:
        while (info := archive.next()) is not None:
            archive.members.clear()
            if info.isreg():
                is_sparse = info.issparse()
                content = archive.extractfile(info) if is_sparse else io.BytesIO()
                place = None if is_sparse else (info.offset_data, info.size)
                yield Member(_utf8(info.name), content, info.size, place)
        file.seek(archive.offset)
        _refuse_more(file)


def _refuse_more(file: Any) -> None:
    """See that nothing but zeros follows.

    Raises:
        tarfile.ReadError: something does.
    """
    while rest := file.read(PIECE_BYTES):
        if rest.strip(b"\0"):
            raise tarfile.ReadError(
                "there is data after the end mark, as of tars put together (tar -A joins them)"
            )


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


def _utf8(name: str) -> str:
    """A name that UTF-8 can write; others are percent-encoded."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return quote(name.encode(errors="surrogateescape"))
    return name

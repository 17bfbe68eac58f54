"""What is embedded: a clip with its stable id and version, or a container that holds many."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes

_FILE_URI = "file://"
_OUT_OF_REACH = ("host_unreachable", "server_error", "tls_error")


@dataclass(frozen=True, slots=True, order=True)
class ClipRef:
    """One recording as the listing, or the reader of its container, found it.

    Attributes:
        uri: absolute path; for names that are not UTF-8 a percent-encoded `file://` URI; or where
            it lies in a store.
        version: what changes when the content does: an etag, or size and mtime; `missing` where it
            could not be looked at. Of the container, where there is one.
        member: which part of it: a name in a tar, `row=N` of Parquet, `t=START,END` of a span;
            empty for a whole file.
        span: start and end in seconds where the clip is a part of the recording.
        byte_range: first byte and size in the container, where it lies there in one piece.
        carried: values of the table's carried columns, in their order; empty for none.
        read_uri: what to read it by, where that is a secret: a signed URL. Never shown or kept.
        n_bytes: size of the file, where the listing told.
        failure: Class and message of the error that the listing has met already; None for none.
    """

    uri: str
    version: str
    member: str = ""
    span: tuple[float, float] | None = field(default=None, compare=False)
    byte_range: tuple[int, int] | None = field(default=None, compare=False)
    carried: tuple[str | None, ...] = field(default=(), compare=False)
    read_uri: str = field(default="", compare=False, repr=False)
    n_bytes: int | None = field(default=None, compare=False)
    failure: tuple[str, str] | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """Uri and member, for messages."""
        return f"{self.uri} {self.member}" if self.member else self.uri

    @property
    def is_out_of_reach(self) -> bool:
        """Whether the listing could not find out what there is now, as the host did not answer."""
        return self.failure is not None and self.failure[0] in _OUT_OF_REACH

    @property
    def ending(self) -> str:
        """Of the recording's name, in small letters, as `.wav`; `no ending` where it has none."""
        # Spans have a dot of their own in their member.
        name = self.member if self.member and self.span is None else self.uri
        if name.startswith(("http://", "https://")):
            name = name.partition("?")[0]
        return os.path.splitext(name)[1].lower() or "no ending"

    @property
    def clip_id(self) -> str:
        """128-bit hex id of uri and member: the same in every run, whatever the version."""
        key = f"{self.uri}\0{self.member}".encode()
        return hashlib.blake2b(key, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True, order=True)
class Container:
    """A file of many clips that is read in one pass; its clips are known once it has been read.

    Attributes:
        uri: where it lies, as that of a clip.
        version: as that of a clip.
        part: which part of it is meant, in the words of its reader; empty for the whole.
        kind: which reader knows it.
        n_clips: how many clips it holds, where that is known beforehand.
        n_bytes: size of the file, where the listing told.
    """

    uri: str
    version: str
    part: str = ""
    kind: str = field(default="", compare=False)
    n_clips: int | None = field(default=None, compare=False)
    n_bytes: int | None = field(default=None, compare=False)


def path_to_uri(path: str) -> str:
    """URI of a local path: the absolute path itself wherever UTF-8 can write it."""
    absolute = os.path.abspath(path)
    try:
        absolute.encode()
    except UnicodeEncodeError:
        return _FILE_URI + quote(os.fsencode(absolute))
    return absolute


def uri_to_path(uri: str) -> str:
    """Local path of a URI that `path_to_uri` wrote."""
    if uri.startswith(_FILE_URI):
        return os.fsdecode(unquote_to_bytes(uri.removeprefix(_FILE_URI)))
    return uri


def group_by_recording(clips: Iterable[ClipRef]) -> Iterator[tuple[ClipRef, ...]]:
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

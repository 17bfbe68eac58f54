"""References to what is embedded: a clip with its id and version, or a container of clips."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes

_FILE_URI = "file://"
_OUT_OF_REACH = ("host_unreachable", "server_error", "tls_error")


@dataclass(frozen=True, slots=True, order=True)
class ClipRef:
    """A reference to one clip, as the listing or the reader of its container found it.

    Attributes:
        uri: Absolute path of the file, or its URI in a store. A path that is not valid UTF-8 is a
            percent-encoded `file://` URI.
        version: Text that changes with the content of the file or its container: an etag, or size
            and mtime. It is `missing` if the listing could not access the file.
        member: Part of the file: a name in a tar, `row=N` in a Parquet file, or `t=START,END` for a
            span. Empty for a whole file.
        span: Start and end in seconds if the clip is a part of the recording; otherwise None.
        byte_range: Offset and size in bytes if the clip is contiguous in its container; otherwise
            None.
        carried: Values of the table's carried columns, in their order. Empty if there are none.
        read_uri: Signed URL to read the clip with, if `uri` cannot be read by itself. It is a
            secret: never printed or stored.
        n_bytes: Size of the file in bytes, or None if the listing does not know it.
        failure: Class and message of an error that the listing met, or None.
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
        """URI and member of the clip, for messages."""
        return f"{self.uri} {self.member}" if self.member else self.uri

    @property
    def is_out_of_reach(self) -> bool:
        """Whether the clip's host failed during the listing, so that its state is unknown."""
        return self.failure is not None and self.failure[0] in _OUT_OF_REACH

    @property
    def ending(self) -> str:
        """Lower-case extension of the recording's name, such as `.wav`, or `no ending`."""
        # The member of a span, such as `t=1.5,2`, has dots that start no extension.
        name = self.member if self.member and self.span is None else self.uri
        if name.startswith(("http://", "https://")):
            name = name.partition("?")[0]
        return os.path.splitext(name)[1].lower() or "no ending"

    @property
    def clip_id(self) -> str:
        """128-bit id in hex, hashed from URI and member: the same in every run and version."""
        key = f"{self.uri}\0{self.member}".encode()
        return hashlib.blake2b(key, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True, order=True)
class Container:
    """A file of many clips, read in one pass; its clips become known while it is read.

    Attributes:
        uri: Absolute path or URI of the file, written like that of a clip.
        version: Text that changes with the content of the file, like that of a clip.
        part: Part of the file to read, in a notation of its reader. Empty for the whole file.
        kind: Name of the format, which selects the reader.
        n_clips: Number of clips, or None if only reading the file can determine it.
        n_bytes: Size of the file in bytes, or None if the listing does not know it.
    """

    uri: str
    version: str
    part: str = ""
    kind: str = field(default="", compare=False)
    n_clips: int | None = field(default=None, compare=False)
    n_bytes: int | None = field(default=None, compare=False)


def path_to_uri(path: str) -> str:
    """Return the URI of a local path: the absolute path itself if it is valid UTF-8."""
    absolute = os.path.abspath(path)
    try:
        absolute.encode()
    except UnicodeEncodeError:
        return _FILE_URI + quote(os.fsencode(absolute))
    return absolute


def uri_to_path(uri: str) -> str:
    """Return the local path of a URI that `path_to_uri` returned."""
    if uri.startswith(_FILE_URI):
        return os.fsdecode(unquote_to_bytes(uri.removeprefix(_FILE_URI)))
    return uri


def group_by_recording(clips: Iterable[ClipRef]) -> Iterator[tuple[ClipRef, ...]]:
    """Group consecutive clips that are cut from the same recording, and yield the groups in order.

    Args:
        clips: Clips sorted by URI and version.
    """
    group: list[ClipRef] = []
    for clip in clips:
        if group and (clip.uri, clip.version) != (group[0].uri, group[0].version):
            yield tuple(group)
            group = []
        group.append(clip)
    if group:
        yield tuple(group)

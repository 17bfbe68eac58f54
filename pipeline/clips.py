"""A clip: one recording, its stable id, and the version its embedding belongs to."""

import hashlib
import os
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

SAMPLE_RATE_HZ = 32_000
"""The rate that everything after decoding runs at."""

_FILE_URI = "file://"


@dataclass(frozen=True, slots=True, order=True)
class ClipRef:
    """One recording as the listing found it.

    Attributes:
        uri: absolute path; for names that are not UTF-8 a percent-encoded `file://` URI.
        version: size and mtime of the file, `missing` where it could not be looked at.
        member: name inside a container; empty for a plain file.
    """

    uri: str
    version: str
    member: str = ""

    @property
    def clip_id(self) -> str:
        """128-bit hex id of uri and member: the same in every run, whatever the version."""
        key = f"{self.uri}\0{self.member}".encode()
        return hashlib.blake2b(key, digest_size=16).hexdigest()


def to_samples(duration_s: float) -> int:
    """Seconds to samples at 32 kHz, to the nearest: the one rule, used everywhere."""
    return round(duration_s * SAMPLE_RATE_HZ)


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

"""Downloading a remote clip to a file with a descriptor, in memory or on disk.

A download is checked to be the listed version: its size is compared with the store's, and the
version is the same before and after. An etag that is the MD5 of the bytes proves both, and that no
bit was changed on the way. A bucket whose etags are no MD5s is recognised when two downloads agree.
"""

import contextlib
import hashlib
import re
from collections.abc import Callable
from typing import BinaryIO, TypeVar

from pipeline.clips import ClipRef
from pipeline.errors import ClipError, HostError
from pipeline.io.named_hosts import ask_host
from pipeline.io.objects import FsspecObject, RemoteObject
from pipeline.io.protocols import HTTP_PROTOCOLS, protocol_of
from pipeline.io.s3_reader import FAST_ERRORS, s3_reader
from pipeline.io.storage import Storage
from pipeline.readers.checks import check_version, missing_file
from pipeline.readers.spool import Piece, Spool

MEMORY_BYTES = 64 << 20
"""Largest object in bytes that is kept in memory; larger ones go to TMPDIR."""

Look = Callable[[], RemoteObject]
T = TypeVar("T")
_MD5 = re.compile(r"[0-9a-f]{32}")
_OTHER_ETAGS = set[str]()
"""Buckets whose etags look like an MD5 and are none."""


def download(
    ref: ClipRef, storage: Storage, admit: Callable[[int], None] = lambda _: None
) -> BinaryIO:
    """Download a remote clip to a local file without a name, and return it at its start.

    Args:
        ref: The clip.
        storage: Access to remote locations.
        admit: Called in each attempt with the size in bytes before the bytes are read. If the store
            does not give the size, it is called with the number of bytes so far. It may wait, or
            raise a ClipError.

    Raises:
        ClipError: The file is missing, forbidden, empty, or not of the listed version; or the host
            that a list named does not deliver it.
        StoreError: The store is unavailable, or does not know the credentials.
        HostError: This machine has a fault, such as a full disk.
    """
    check_listed(ref)
    storage.filesystem(ref.uri)  # raises UsageError here, where it is not retried
    outcome = retry_read(ref.uri, storage, lambda: _attempt(ref, storage, admit))
    if isinstance(outcome, ClipError | HostError):
        raise outcome
    return outcome


def retry_read(uri: str, storage: Storage, call: Callable[[], T]) -> T:
    """Read from a remote file, and retry while the store is unavailable.

    Args:
        uri: URI of the file, for messages.
        storage: Access to remote locations.
        call: Does the reading; must be safe to repeat.

    Raises:
        ClipError: The file is missing or forbidden, or the host that a list named does not deliver
            it.
        StoreError: The store is unavailable, or does not know the credentials.
    """
    what = f"{uri} cannot be read"
    try:
        if protocol_of(uri) in HTTP_PROTOCOLS:
            return ask_host(what, uri, uri, storage, call, is_listing=False)
        return storage.retry(what, call)
    except FileNotFoundError as error:
        raise missing_file(uri) from error
    except PermissionError as error:
        said = storage.redact(str(error))
        raise ClipError("read", "forbidden", f"{uri}: no permission to read it ({said})") from error


def check_listed(ref: ClipRef) -> None:
    """Raise the error that the listing has found already.

    Args:
        ref: The clip.

    Raises:
        ClipError: The listing could not read the recording's version.
    """
    if ref.failure:
        raise ClipError("read", *ref.failure)


def _attempt(
    ref: ClipRef, storage: Storage, admit: Callable[[int], None]
) -> BinaryIO | ClipError | HostError:
    """Download once; return errors of the clip, because errors that are raised are retried."""
    uri = ref.read_uri or ref.uri
    fast = s3_reader(uri, storage)
    try:
        if fast:
            with contextlib.suppress(*FAST_ERRORS):
                file = _copy(ref, lambda: fast.open_object(uri), admit)
                fast.record_result(succeeded=True)
                return file
        file = _copy(ref, lambda: FsspecObject(uri, storage), admit)
        if fast:
            fast.record_result(succeeded=False)
    except (ClipError, HostError) as error:
        return error
    return file


def _copy(ref: ClipRef, look: Look, admit: Callable[[int], None]) -> BinaryIO:
    found = look()
    if found.size == 0:
        raise ClipError("read", "empty", f"{ref.uri}: is empty (0 bytes)")
    check_version(ref, found.version)
    if found.size is not None:
        admit(found.size)
    spool = Spool(found.size, MEMORY_BYTES)
    try:
        try:
            digest = _digest(found, spool.write, admit)
        except OSError:
            # Some stores break off if the object is replaced meanwhile.
            check_version(ref, look().version)
            raise
        if digest != ref.version:
            again = look()
            check_version(ref, again.version)
            _check_digest(ref, digest, again)
        return spool.finish()
    except BaseException:
        spool.close()
        raise


def _digest(
    found: RemoteObject,
    write: Callable[[Piece], None] = lambda _: None,
    admit: Callable[[int], None] = lambda _: None,
) -> str:
    """Read an object to its end, and return its MD5 in hex."""
    digest = hashlib.md5(usedforsecurity=False)
    n_bytes = 0
    for piece in found.pieces():
        digest.update(piece)
        n_bytes += len(piece)
        if found.size is None:
            admit(n_bytes)
        write(piece)
    if found.size is not None and n_bytes != found.size:
        raise OSError(f"{n_bytes} bytes came of {found.size}")
    return digest.hexdigest()


def _check_digest(ref: ClipRef, digest: str, again: RemoteObject) -> None:
    """Check a download whose MD5 is not its etag, by downloading it again.

    Encrypted buckets have other etags; otherwise a bit was changed on the way.
    """
    bucket = "/".join(ref.uri.split("/")[:3])
    if not _MD5.fullmatch(ref.version) or bucket in _OTHER_ETAGS:
        return
    if _digest(again) != digest:
        raise OSError("came differently twice")
    _OTHER_ETAGS.add(bucket)

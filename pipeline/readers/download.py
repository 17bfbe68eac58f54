"""A remote clip's bytes, copied to where they have a descriptor: memory, or the disk if large.

What was copied is what was listed: its size is held to what the store says, and its version is the
same before and after. An etag that is the MD5 of the bytes proves both at once, and that no bit
was turned on the way; where it is not, that is so for a bucket once two readings agree.
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
from pipeline.io.s3_reader import FAST_ERRORS, s3_reader
from pipeline.io.storage import HTTP_PROTOCOLS, Storage, protocol_of
from pipeline.readers.checks import check_version, missing_file
from pipeline.readers.spool import Piece, Spool

MEMORY_BYTES = 64 << 20
"""Larger objects go to the disk, in TMPDIR."""

Look = Callable[[], RemoteObject]
T = TypeVar("T")
_MD5 = re.compile(r"[0-9a-f]{32}")
# Buckets whose etags look like an MD5 and are none.
_OTHER_ETAGS = set[str]()


def download(
    ref: ClipRef, storage: Storage, admit: Callable[[int], None] = lambda _: None
) -> BinaryIO:
    """A remote clip as a local file without a name, positioned at its start.

    Args:
        ref: the clip.
        storage: how it is reached.
        admit: called with the size in bytes before they are read, in each attempt, or where the
            store does not tell it with what has come so far; may wait, or raise a ClipError.

    Raises:
        ClipError: it is not there, not for us, empty, or not of the version that was listed; or
            the host that a list named does not give it.
        StoreError: the store is out of order; or it knows no such credentials.
        HostError: there is no space for its bytes, say.
    """
    check_listed(ref)
    storage.filesystem(ref.uri)  # a UsageError is not to be tried again
    outcome = retry_read(ref.uri, storage, lambda: _attempt(ref, storage, admit))
    if isinstance(outcome, ClipError | HostError):
        raise outcome
    return outcome


def retry_read(uri: str, storage: Storage, call: Callable[[], T]) -> T:
    """Read of a remote file, again and again while the store is out of order.

    Args:
        uri: of the file, for messages.
        storage: how it is reached.
        call: does it; must be safe to repeat.

    Raises:
        ClipError: it is not there, or not for us; or the host that a list named does not give it.
        StoreError: the store is out of order; or it knows no such credentials.
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
        ClipError: The listing could not look at the recording.
    """
    if ref.failure:
        raise ClipError("read", *ref.failure)


def _attempt(
    ref: ClipRef, storage: Storage, admit: Callable[[int], None]
) -> BinaryIO | ClipError | HostError:
    """An error of ours is returned: what is raised is tried again."""
    uri = ref.read_uri or ref.uri
    fast = s3_reader(uri, storage)
    try:
        if fast:
            with contextlib.suppress(*FAST_ERRORS):
                file = _copied(ref, lambda: fast.open_object(uri), admit)
                fast.record_result(succeeded=True)
                return file
        file = _copied(ref, lambda: FsspecObject(uri, storage), admit)
        if fast:
            fast.record_result(succeeded=False)
    except (ClipError, HostError) as error:
        return error
    return file


def _copied(ref: ClipRef, look: Look, admit: Callable[[int], None]) -> BinaryIO:
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
            # Some stores break off where the object is replaced meanwhile.
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
    """Read an object to its end; its MD5, hex."""
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
    """Where the MD5 is not the etag: encrypted buckets have other etags, or a bit was turned."""
    bucket = "/".join(ref.uri.split("/")[:3])
    if not _MD5.fullmatch(ref.version) or bucket in _OTHER_ETAGS:
        return
    if _digest(again) != digest:
        raise OSError("came differently twice")
    _OTHER_ETAGS.add(bucket)

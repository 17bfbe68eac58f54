"""Files whose bytes are fetched only where they are read, for reading headers.

A local file is opened in place. A remote file is fetched in blocks, each at most once while it is
open. Decoders read through C, which cannot pass an error on. So an error looks like the end of the
file first, and is raised when the file is closed.
"""

import contextlib
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO, cast

from pipeline.clips import ClipRef
from pipeline.errors import ClipError, StoreError
from pipeline.io.objects import FsspecObject, fetch_any_version
from pipeline.io.protocols import is_remote
from pipeline.io.storage import Storage
from pipeline.io.virtual_file import VirtualFile
from pipeline.readers.checks import check_size
from pipeline.readers.clip_file import open_clip
from pipeline.readers.download import check_listed, download, retry_read

BLOCK_BYTES = 1 << 16
"""Bytes of a block; most headers, and the largest page of an Ogg file, fit in one."""
_KEPT_BLOCKS = 64

ReadRange = Callable[[int, int], bytes]


class LazyFile(VirtualFile):
    """A file whose bytes are fetched when they are read.

    Args:
        size: Size in bytes.
        fetch: Returns the bytes from one offset to another, exactly; may raise ClipError or
            StoreError.

    Attributes:
        failure: Error that `fetch` raised; from then on the file seems to be at its end.
    """

    def __init__(self, size: int, fetch: ReadRange) -> None:
        super().__init__(size)
        self.failure: ClipError | StoreError | None = None
        self._fetch = fetch

    def content(self, start: int, n_bytes: int) -> bytes:
        """Return up to `n_bytes`; no bytes after a failure."""
        end = min(start + n_bytes, self.size)
        if end <= start or self.failure:
            return b""
        try:
            return self._fetch(start, end)
        except (ClipError, StoreError) as error:
            self.failure = error
            return b""


class Blocks:
    """Ranges of a file, read in blocks; the most recent blocks are kept.

    Args:
        size: Size of the file in bytes.
        fetch: Returns the bytes from one offset to another, exactly.
    """

    def __init__(self, size: int, fetch: ReadRange) -> None:
        self._size = size
        self._fetch = fetch
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    def range(self, start: int, end: int) -> bytes:
        """Return the bytes from one offset to another."""
        wanted = range(start // BLOCK_BYTES, (end - 1) // BLOCK_BYTES + 1)
        missing = [block for block in wanted if block not in self._kept]
        found = {block: self._kept[block] for block in wanted if block in self._kept}
        if missing:
            first, behind = missing[0] * BLOCK_BYTES, (missing[-1] + 1) * BLOCK_BYTES
            content = self._fetch(first, min(behind, self._size))
            for block in range(missing[0], missing[-1] + 1):
                at = block * BLOCK_BYTES - first
                found[block] = content[at : at + BLOCK_BYTES]
        for block in wanted:
            self._kept[block] = found[block]
            self._kept.move_to_end(block)
        while len(self._kept) > _KEPT_BLOCKS:
            self._kept.popitem(last=False)
        joined = b"".join(found[block] for block in wanted)
        at = start - wanted[0] * BLOCK_BYTES
        return joined[at : at + end - start]


@contextlib.contextmanager
def open_clip_lazily(
    ref: ClipRef, storage: Storage, max_bytes: int = sys.maxsize
) -> Iterator[BinaryIO]:
    """Open a clip's file for reading a few bytes; a remote file has no descriptor.

    Args:
        ref: The clip.
        storage: Access to remote locations.
        max_bytes: Largest file that is opened, in bytes.

    Raises:
        ClipError: The file cannot be read, is empty, too large, or (if local) has changed since it
            was listed.
        StoreError: The store is unavailable.
    """
    check_listed(ref)
    if not is_remote(ref.uri):
        with open_clip(ref, storage, max_bytes) as file:
            yield file
        return
    uri, size = ref.read_uri or ref.uri, ref.n_bytes
    if size is None:
        size = retry_read(ref.uri, storage, lambda: FsspecObject(uri, storage)).size
    if size is None:  # the server does not give the size, so only a download shows it
        with download(ref, storage, partial(check_size, ref, max_bytes)) as file:
            yield file
        return
    if not size:
        raise ClipError("read", "empty", f"{ref.uri}: is empty (0 bytes)")
    check_size(ref, max_bytes, size)

    def fetch(start: int, end: int) -> bytes:
        return retry_read(
            ref.uri, storage, lambda: fetch_any_version(uri, storage, size, start, end)
        )

    with open_lazily(size, Blocks(size, fetch).range) as file:
        yield file


@contextlib.contextmanager
def open_lazily(size: int, fetch: ReadRange) -> Iterator[BinaryIO]:
    """Open a `LazyFile`, and raise its failure at the end of the block.

    Args:
        size: Size in bytes.
        fetch: Returns the bytes from one offset to another, exactly.

    Raises:
        ClipError, StoreError: Error that `fetch` has raised.
    """
    with LazyFile(size, fetch) as file:
        try:
            yield cast(BinaryIO, file)
        except Exception:
            # The file's reader may have turned the failure into an error of its own.
            if file.failure:
                raise file.failure from None
            raise
        if file.failure:
            raise file.failure

"""A local file to a remote one that appears whole.

By one PUT, or in parts whose completion comes last.
"""

import errno
import re
from pathlib import Path
from typing import Any

S3 = ("s3", "s3a")
PART_BYTES = 16 << 20
"""Of an upload in parts to S3; what has less than two goes in one PUT."""
_PARTS_AT_ONCE = 4
_NO_BUCKET = re.compile(r"bucket does not exist|NoSuchBucket", re.IGNORECASE)


def is_no_bucket(error: FileNotFoundError) -> bool:
    """Whether it is the bucket that is not there; some servers say so by a code alone."""
    return bool(_NO_BUCKET.search(f"{error} {error.__cause__}"))


def upload(filesystem: Any, protocol: str, local: str, path: str) -> None:
    """Put a file in its place on a store that shows none before it is whole; safe to repeat.

    Args:
        filesystem: of fsspec.
        protocol: its name.
        local: the file.
        path: its place.
    """
    if protocol == "memory":
        # Its files can be seen while they are copied, but not while they are made from bytes.
        filesystem.pipe_file(path, Path(local).read_bytes())
    elif protocol not in S3:
        filesystem.put_file(local, path)
    else:
        try:
            filesystem.put_file(local, path, chunksize=PART_BYTES, max_concurrency=_PARTS_AT_ONCE)
        except FileNotFoundError as error:
            if is_no_bucket(error):
                raise
            # The completion of an upload is tried again, and finds no upload, where its reply was
            # lost. The file may be there; it is replaced by itself.
            raise OSError(errno.EAGAIN, str(error)) from error


def upload_and_rename(filesystem: Any, local: str, beside: str, path: str) -> None:
    """The same, on a store that shows a file while it is written.

    Args:
        filesystem: of fsspec.
        local: the file.
        beside: a free name in the same store.
        path: its place.
    """
    filesystem.put_file(local, beside)
    filesystem.mv(beside, path)

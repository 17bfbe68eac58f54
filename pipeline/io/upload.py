"""Upload of a local file so that the remote file only ever appears complete.

It is uploaded with one PUT, or in parts that the last request completes.
"""

import errno
import re
from pathlib import Path
from typing import Any

S3 = ("s3", "s3a")
PART_BYTES = 16 << 20
"""Size of a part of a multipart upload to S3; a file below two parts is one PUT."""
_PARALLEL_PARTS = 4
_NO_BUCKET = re.compile(r"bucket does not exist|NoSuchBucket", re.IGNORECASE)


def is_no_bucket(error: FileNotFoundError) -> bool:
    """Return whether an error means that the bucket does not exist, and not a file in it."""
    return bool(_NO_BUCKET.search(f"{error} {error.__cause__}"))


def upload(filesystem: Any, protocol: str, local: str, path: str) -> None:
    """Upload a file to a store where files only appear complete. The call is safe to repeat.

    Args:
        filesystem: Filesystem of fsspec.
        protocol: Protocol of the filesystem, such as `s3`.
        local: Path of the local file.
        path: Path of the remote file.
    """
    if protocol == "memory":
        # A copied file is visible while it is incomplete; a file created from bytes is not.
        filesystem.pipe_file(path, Path(local).read_bytes())
    elif protocol not in S3:
        filesystem.put_file(local, path)
    else:
        try:
            filesystem.put_file(local, path, chunksize=PART_BYTES, max_concurrency=_PARALLEL_PARTS)
        except FileNotFoundError as error:
            if is_no_bucket(error):
                raise
            # If the reply to the completion is lost, s3fs completes again and finds no upload. The
            # file may already exist; the retry then replaces it with the same content.
            raise OSError(errno.EAGAIN, str(error)) from error


def upload_and_rename(filesystem: Any, local: str, temp_path: str, path: str) -> None:
    """Upload a file under a temporary name, then rename it.

    This is for stores where a file is visible while it is being written.

    Args:
        filesystem: Filesystem of fsspec.
        local: Path of the local file.
        temp_path: Unused remote path in the same store.
        path: Path of the remote file.
    """
    filesystem.put_file(local, temp_path)
    filesystem.mv(temp_path, path)

"""Tells faults of this machine apart from faults of the file that is read.

A full disk or a lack of file descriptors says nothing about the clip that was being read. It must
never become the clip's error: the shard is retried, on another machine if possible.
"""

import errno
import tempfile

from pipeline.errors import ClipError, HostError

_REASONS = {
    errno.ENOSPC: "no space left in {tmpdir} (TMPDIR); free some, or set TMPDIR to a larger disk",
    errno.EDQUOT: "the disk quota of {tmpdir} (TMPDIR) is used up; raise it, or set TMPDIR",
    errno.EMFILE: "this process has no file descriptors left; raise `ulimit -n`",
    errno.ENFILE: "this machine has no file descriptors left; raise fs.file-max",
    errno.ENOMEM: "this machine has no memory left",
}


def host_fault(error: BaseException) -> HostError | None:
    """Return a HostError if an error is a fault of this machine; otherwise None.

    Args:
        error: Any exception. Only an OSError with one of a few error numbers is such a fault.
    """
    if not isinstance(error, OSError) or error.errno not in _REASONS:
        return None
    return HostError(_REASONS[error.errno].format(tmpdir=tempfile.gettempdir()))


def read_fault(uri: str, error: OSError) -> HostError | ClipError:
    """Return the error to raise after a local file could not be read.

    Args:
        uri: Location of the file.
        error: Error of the operating system.
    """
    reason = error.strerror or str(error)
    return host_fault(error) or ClipError("read", "unreadable", f"{uri}: {reason}")

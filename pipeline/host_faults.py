"""Tells a fault of this machine from a fault of the file that is read.

A full disk or an exhausted table of file descriptors says nothing about the clip that met it. It
must never become that clip's error: the shard is tried again, on another machine where possible.
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
    """Return the fault of this machine that an OSError reports, or None if it is none.

    Args:
        error: Any exception; only an OSError with one of a few error numbers is such a fault.
    """
    if not isinstance(error, OSError) or error.errno not in _REASONS:
        return None
    return HostError(_REASONS[error.errno].format(tmpdir=tempfile.gettempdir()))


def read_fault(uri: str, error: OSError) -> HostError | ClipError:
    """Return what it means that reading a local source failed.

    Args:
        uri: Location of the source.
        error: What the operating system said.
    """
    said = error.strerror or str(error)
    return host_fault(error) or ClipError("read", "unreadable", f"{uri}: {said}")

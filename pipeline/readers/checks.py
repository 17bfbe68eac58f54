"""Checks of a file against its listing, for local and for downloaded files."""

from pipeline.clips import ClipRef, Container
from pipeline.errors import ClipError


def check_size(ref: ClipRef, max_bytes: int, n_bytes: int) -> None:
    """See that a clip is not larger than it may be.

    Raises:
        ClipError: it is.
    """
    if n_bytes > max_bytes:
        raise ClipError(
            "read",
            "too_large",
            f"{ref.name}: {n_bytes} bytes, more than the {max_bytes} that a clip may have; cut it, "
            "or raise --max-clip-bytes",
        )


def check_version(listed: ClipRef | Container, version: str) -> None:
    """See that a file is what was listed.

    Raises:
        ClipError: it is not.
    """
    if version != listed.version:
        raise ClipError(
            "read",
            "changed",
            f"{listed.uri}: changed since it was listed (version {listed.version}, now {version}); "
            "the same command embeds it anew",
        )


def missing_file(uri: str, what: str = "is") -> ClipError:
    """The error of a file that is not there, or of a link to none.

    Args:
        uri: of the file.
        what: is not there.
    """
    way_out = "put it back and run the same command with --retry missing, or leave it out"
    return ClipError("read", "missing", f"{uri}: {what} not there; {way_out}")

"""Checks of a file against its listing, for local and for downloaded files."""

from pipeline.clips import ClipRef, Container
from pipeline.errors import ClipError


def check_size(ref: ClipRef, max_bytes: int, n_bytes: int) -> None:
    """Check that a clip is not too large.

    Raises:
        ClipError: The clip is larger than `max_bytes`.
    """
    if n_bytes > max_bytes:
        raise ClipError(
            "read",
            "too_large",
            f"{ref.name}: {n_bytes} bytes, more than the {max_bytes} that a clip may have; cut it, "
            "or raise --max-clip-bytes",
        )


def check_version(listed: ClipRef | Container, version: str) -> None:
    """Check that a file has the version that was listed.

    Raises:
        ClipError: The file has another version.
    """
    if version != listed.version:
        raise ClipError(
            "read",
            "changed",
            f"{listed.uri}: changed since it was listed (version {listed.version}, now {version}); "
            "the same command embeds it again",
        )


def missing_file(uri: str, what: str = "is") -> ClipError:
    """Return the error of a missing file, or of a link to a missing file.

    Args:
        uri: URI of the file.
        what: Words between the uri and `not there`, in the message.
    """
    way_out = "put it back and run the same command with --retry missing, or leave it out"
    return ClipError("read", "missing", f"{uri}: {what} not there; {way_out}")

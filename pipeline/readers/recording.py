"""What a reader yields for each audio file of a shard."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.clips import ClipRef


def _nothing(_: BinaryIO) -> None:
    """Check nothing: the reader's own copy of a file cannot change."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One audio file of a shard, and the clips cut from it.

    Attributes:
        clips: The clips, ordered by start time. A whole file is a single clip.
        open: Opens the file for reading, with a file descriptor. Takes the maximum size in bytes
            and raises ClipError. Valid until the next recording is requested.
        check_unchanged: Raises ClipError if the open file is no longer the listed version.
    """

    clips: tuple[ClipRef, ...]
    open: Callable[[int], AbstractContextManager[BinaryIO]]
    check_unchanged: Callable[[BinaryIO], None] = _nothing

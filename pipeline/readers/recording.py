"""What a reader yields: a clip and how its bytes are opened."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import BinaryIO, NamedTuple

from pipeline.clips import ClipRef
from pipeline.decode.shared_decoder import SharedDecoder


class Recording(NamedTuple):
    """One clip of a shard.

    Attributes:
        ref: the clip.
        open: its bytes, of which there may be so many, as a file with a descriptor, for as long as
            the stream of recordings stands at it. Raises ClipError.
        tape: what it is cut from, where the clips beside it are cut from the same.
    """

    ref: ClipRef
    open: Callable[[int], AbstractContextManager[BinaryIO]]
    tape: SharedDecoder | None = None

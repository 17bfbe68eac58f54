"""A reader of the length that a file declares, independent of the decoder.

Decoders read as much of a damaged file as they can and report no error. Only a header, the first
frame or the last page reveals that something is missing. Each family of containers has its own
module: `riff` (WAV, AIFF), `mp3.tag`, `ogg`, and `container_size` (Matroska, ASF, MP4, AVI, TTA).
The decoders themselves report the length of FLAC, MP4 and Ogg, as `AudioStream.n_frames`. For Ogg,
this module only checks that the end of the file is present.
"""

from dataclasses import dataclass
from typing import BinaryIO

from pipeline.decode.headers.container_size import find_joined_bytes, read_declared_size
from pipeline.decode.headers.mp3.tag import read_mp3_info
from pipeline.decode.headers.ogg import find_ogg_end, read_ogg_header
from pipeline.decode.headers.riff import read_riff_length
from pipeline.decode.headers.unread import JOINED


@dataclass(frozen=True, slots=True)
class DeclaredLength:
    """The length that a file declares, and the length that it holds.

    Attributes:
        declared: Declared length in `unit`; None if the file declares none.
        present: Length in the file in `unit`; None if only the decoder can find it.
        unit: Unit of both lengths, as error messages show it.
        tolerance: Difference in `unit` by which a complete file may be shorter than declared.
        is_cut: Whether the end of the file is missing without a hint how much is lost.
        unread: Description of audio in the file that no decoder reads. Empty if any difference is
            audio missing from the file.
    """

    declared: int | None
    present: int | None = None
    unit: str = "frames"
    tolerance: int = 0
    is_cut: bool = False
    unread: str = ""


def is_truncated(declared: int, present: int, tolerance: float) -> bool:
    """Return whether more audio is missing than a clip may lack.

    Args:
        declared: Declared length, in any unit.
        present: Length found, in the same unit.
        tolerance: Share of the declared length that may be missing, from 0 to 1.
    """
    return present < declared and present < (1 - tolerance) * declared


def read_declared_length(file: BinaryIO) -> DeclaredLength | None:
    """Return the length that a file declares; None if it declares none.

    Args:
        file: File opened for reading; its position is moved.
    """
    if in_bytes := read_riff_length(file):
        declared, present = in_bytes
        return DeclaredLength(declared, present, "bytes of audio")
    if audio := read_ogg_header(file):
        end = find_ogg_end(file, audio)
        return None if end is None else DeclaredLength(None, is_cut=not end.is_marked)
    if in_bytes := read_declared_size(file):
        declared, present = in_bytes
        if present < declared:
            return DeclaredLength(declared, present, "bytes")
        more = find_joined_bytes(file, declared)
        return DeclaredLength(declared + more, declared, "bytes", unread=JOINED) if more else None
    mp3 = read_mp3_info(file)
    if mp3 is None or mp3.n_samples is None:
        return None
    # Some encoders also count the frame that holds the tag.
    return DeclaredLength(mp3.n_samples, tolerance=mp3.frame_samples)

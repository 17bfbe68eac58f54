"""How much audio a file promises, whoever decodes it, and how much of that may be missing.

Decoders make the best of a damaged file and say nothing; what its header, its first frame or its
last page say is the only witness. Each family of formats has a module: `chunks` for WAV and AIFF,
`mpeg` for MP3, `ogg`, `read_declared_size` for Matroska, ASF, MP4, AVI and TTA. Of FLAC, MP4 and Ogg the
decoders know the length, as `Sound.n_frames`; what is left to ask an Ogg file is whether its end is
there.
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
    """What a file says of its length.

    Attributes:
        promised: how much there should be; None where only the end is known to be missing.
        present: how much there is; None for as many frames as the decoder finds.
        unit: of both.
        slack: how much less counts as all of it.
        is_cut: the file ends before its end, and does not say by how much.
        unread: Where the audio is that the file holds and no decoder reads; empty where audio is
            missing from the file.
    """

    declared: int | None
    present: int | None = None
    unit: str = "frames"
    tolerance: int = 0
    is_cut: bool = False
    unread: str = ""


def is_truncated(declared: int, present: int, tolerance: float) -> bool:
    """Whether so much of what was promised is missing that the clip counts as damaged.

    Args:
        promised: how much there should be.
        present: how much there is.
        tolerance: share that may be missing.
    """
    return present < declared and present < (1 - tolerance) * declared


def read_declared_length(file: BinaryIO) -> DeclaredLength | None:
    """What a file promises; None where the format or the file does not say.

    Args:
        file: opened for reading; its position is moved.
    """
    if in_bytes := read_riff_length(file):
        promised, present = in_bytes
        return DeclaredLength(promised, present, "bytes of audio")
    if audio := read_ogg_header(file):
        end = find_ogg_end(file, audio)
        return None if end is None else DeclaredLength(None, is_cut=not end.is_marked)
    if in_bytes := read_declared_size(file):
        promised, present = in_bytes
        if present < promised:
            return DeclaredLength(promised, present, "bytes")
        more = find_joined_bytes(file, promised)
        return DeclaredLength(promised + more, promised, "bytes", unread=JOINED) if more else None
    mpeg = read_mp3_info(file)
    if mpeg is None or mpeg.n_samples is None:
        return None
    # Some encoders count the frame that the count stands in.
    return DeclaredLength(mpeg.n_samples, tolerance=mpeg.frame_samples)

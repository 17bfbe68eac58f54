"""How much audio a file promises, whoever decodes it, and how much of that may be missing.

Decoders make the best of a damaged file and say nothing; what its header, its first frame or its
last page say is the only witness. Each family of formats has a module: `chunks` for WAV and AIFF,
`mpeg` for MP3, `ogg`, `declared_size` for Matroska, ASF, MP4, AVI and TTA. Of FLAC, MP4 and Ogg the
decoders know the length, as `Sound.n_frames`; what is left to ask an Ogg file is whether its end is
there.
"""

from dataclasses import dataclass
from typing import BinaryIO

from pipeline.decode.headers.container_size import declared_size, joined_bytes
from pipeline.decode.headers.mp3.tag import mpeg_audio
from pipeline.decode.headers.ogg import ogg_audio, ogg_end
from pipeline.decode.headers.riff import promised_and_present
from pipeline.decode.headers.unread import JOINED


@dataclass(frozen=True, slots=True)
class Promise:
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

    promised: int | None
    present: int | None = None
    unit: str = "frames"
    slack: int = 0
    is_cut: bool = False
    unread: str = ""


def is_truncated(promised: int, present: int, tolerance: float) -> bool:
    """Whether so much of what was promised is missing that the clip counts as damaged.

    Args:
        promised: how much there should be.
        present: how much there is.
        tolerance: share that may be missing.
    """
    return present < promised and present < (1 - tolerance) * promised


def promise_of(file: BinaryIO) -> Promise | None:
    """What a file promises; None where the format or the file does not say.

    Args:
        file: opened for reading; its position is moved.
    """
    if in_bytes := promised_and_present(file):
        promised, present = in_bytes
        return Promise(promised, present, "bytes of audio")
    if audio := ogg_audio(file):
        end = ogg_end(file, audio)
        return None if end is None else Promise(None, is_cut=not end.is_marked)
    if in_bytes := declared_size(file):
        promised, present = in_bytes
        if present < promised:
            return Promise(promised, present, "bytes")
        more = joined_bytes(file, promised)
        return Promise(promised + more, promised, "bytes", unread=JOINED) if more else None
    mpeg = mpeg_audio(file)
    if mpeg is None or mpeg.n_samples is None:
        return None
    # Some encoders count the frame that the count stands in.
    return Promise(mpeg.n_samples, slack=mpeg.frame_samples)

"""How many samples an MP3 says it has, in the frame that encoders put first to describe the rest.

Xing (called Info where the bit rate is constant) and VBRI count the frames; LAME's extension of the
first, which FFmpeg writes too, has the samples that the encoder put before and after the audio and
that both decoders take off again. libsndfile decodes the silent frame that VBRI stands in as well.
An MP3 without any of these promises nothing, and both decoders leave in what is in front of the
audio; LAME's delay is then the best guess at how much that is.
"""

import struct
from dataclasses import dataclass, field
from typing import BinaryIO

from pipeline.decode.headers.tags import skip_id3

_DECODER_DELAY = 529
ASSUMED_DELAY = 576 + _DECODER_DELAY
"""LAME's delay, and that of the filter bank of every decoder, in samples."""
_HEAD_BYTES = 4
_TAG_BYTES = 4096
_MPEG1, _LAYER_III, _MONO = 3, 1, 3
_HAS_FRAMES, _HAS_BYTES, _HAS_TOC, _HAS_QUALITY = 1, 2, 4, 8
_VBRI_AT = 36
_DELAYS_AT = 21
"""Behind the quality field come encoder (9), method, low pass, gains (8), flags and bit rate."""


@dataclass(frozen=True, slots=True)
class Mp3Info:
    """What the first frame of an MP3 says.

    Attributes:
        frame_samples: samples that a frame decodes to.
        has_tag: it describes the rest.
        n_samples: that the whole decodes to, less what the encoder added; None where it is not
            said.
        n_bytes: of the whole, from this frame on; None where it is not said; not compared.
        n_frames: Number of frames that the tag counts; None where it does not; not compared.
        n_before: Samples at the start that decoders take off, because an encoder added them; not
            compared.
        n_in_tag: Samples that the frame of the tag itself decodes to; not compared.
    """

    frame_samples: int
    has_tag: bool
    n_samples: int | None
    n_bytes: int | None = field(default=None, compare=False)
    n_frames: int | None = field(default=None, compare=False)
    n_before: int = field(default=0, compare=False)
    n_in_tag: int = field(default=0, compare=False)


def read_mp3_info(file: BinaryIO) -> Mp3Info | None:
    """What the first frame says; None where the file is no MP3.

    Args:
        file: opened for reading; its position is moved.
    """
    file.seek(skip_id3(file))
    frame = file.read(_TAG_BYTES)
    if len(frame) < _HEAD_BYTES or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return None
    version, layer = frame[1] >> 3 & 3, frame[1] >> 1 & 3
    if layer != _LAYER_III:
        return None
    is_mono = frame[3] >> 6 == _MONO
    samples = 1152 if version == _MPEG1 else 576
    side_info = (17 if is_mono else 32) if version == _MPEG1 else (9 if is_mono else 17)
    xing, vbri = frame[_HEAD_BYTES + side_info :], frame[_VBRI_AT:]
    has_tag = xing[:4] in (b"Xing", b"Info") or vbri[:4] == b"VBRI"
    if counted := _xing(xing):
        count, before, after = counted
        before, after = before + _DECODER_DELAY, max(0, after - _DECODER_DELAY)
        n_samples = max(0, count * samples - before - after)
        return Mp3Info(samples, has_tag, n_samples, _counted_bytes(xing), count, before)
    if vbri[:4] != b"VBRI":
        return Mp3Info(samples, has_tag, None)
    n_frames = _vbri(vbri)
    if n_frames is None:
        return Mp3Info(samples, has_tag, None, n_in_tag=samples)
    n_samples, n_bytes = (n_frames + 1) * samples, _vbri_bytes(vbri)
    return Mp3Info(samples, has_tag, n_samples, n_bytes, n_frames, n_in_tag=samples)


def _xing(tag: bytes) -> tuple[int, int, int] | None:
    """Frames, and samples before and after the audio that are none of it."""
    if tag[:4] not in (b"Xing", b"Info") or len(tag) < 12:
        return None
    flags, n_frames = struct.unpack(">II", tag[4:12])
    if not flags & _HAS_FRAMES or not n_frames:
        return None
    end = 12
    end += 4 if flags & _HAS_BYTES else 0
    end += 100 if flags & _HAS_TOC else 0
    end += 4 if flags & _HAS_QUALITY else 0
    packed = tag[end + _DELAYS_AT : end + _DELAYS_AT + 3]
    # Decoders ignore the delays where the name of the encoder before them is missing.
    has_delays = len(packed) == 3 and tag[end]
    before_and_after = int.from_bytes(packed, "big") if has_delays else 0
    return n_frames, before_and_after >> 12, before_and_after & 0xFFF


def _counted_bytes(tag: bytes) -> int | None:
    """Bytes that a sound Xing tag counts."""
    if tag[:4] not in (b"Xing", b"Info") or len(tag) < 16 or not tag[7] & _HAS_BYTES:
        return None
    return int.from_bytes(tag[12:16], "big") or None


def _vbri(tag: bytes) -> int | None:
    """Frames besides the one that the tag stands in."""
    return int.from_bytes(tag[14:18], "big") or None if len(tag) >= 18 else None


def _vbri_bytes(tag: bytes) -> int | None:
    return int.from_bytes(tag[10:14], "big") or None

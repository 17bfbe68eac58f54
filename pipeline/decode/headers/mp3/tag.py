"""A parser of the tag in the first frame of an MP3, which declares the length of the file.

Xing tags (named Info if the bit rate is constant) and VBRI tags count the frames. LAME's extension
of the Xing tag, which FFmpeg also writes, gives the delay and padding that the encoder added; both
decoders remove these samples. libsndfile also decodes the silent frame that holds a VBRI tag.
An MP3 without a tag declares no length, and both decoders keep the encoder's delay. The delay of
LAME is then the best estimate of it.
"""

import struct
from dataclasses import dataclass, field
from typing import BinaryIO

from pipeline.decode.headers.tags import skip_id3

_DECODER_DELAY = 529
ASSUMED_DELAY = 576 + _DECODER_DELAY
"""Delay that is assumed if a file does not declare it, in samples.

It is the sum of LAME's delay and the delay of the filter bank of every decoder.
"""
_HEADER_BYTES = 4
_TAG_BYTES = 4096
_MPEG1, _LAYER_III, _MONO = 3, 1, 3
_HAS_FRAMES, _HAS_BYTES, _HAS_TOC, _HAS_QUALITY = 1, 2, 4, 8
_VBRI_AT = 36
_DELAYS_AT = 21
"""Offset of LAME's delay and padding from the end of the Xing tag, in bytes.

Before it come the encoder's name (9 bytes), method, low pass, gains (8 bytes), flags and bit rate.
"""


@dataclass(frozen=True, slots=True)
class Mp3Info:
    """The tag in the first frame of an MP3. Only the first three attributes are compared.

    Attributes:
        frame_samples: Number of samples per channel that a frame decodes to.
        has_tag: Whether the first frame holds a tag.
        n_samples: Declared length in samples, without the encoder's delay and padding; None if the
            tag declares none.
        n_bytes: Declared size of the audio in bytes, from the first frame on; None if the tag
            declares none.
        n_frames: Number of frames that the tag counts; None if it counts none.
        n_before: Number of samples at the start that decoders remove as delay.
        n_in_tag: Number of samples that the frame with the tag itself decodes to.
    """

    frame_samples: int
    has_tag: bool
    n_samples: int | None
    n_bytes: int | None = field(default=None, compare=False)
    n_frames: int | None = field(default=None, compare=False)
    n_before: int = field(default=0, compare=False)
    n_in_tag: int = field(default=0, compare=False)


def read_mp3_info(file: BinaryIO) -> Mp3Info | None:
    """Parse the tag in the first frame of an MP3; None if the file is no MP3.

    Args:
        file: File opened for reading; its position is moved.
    """
    file.seek(skip_id3(file))
    frame = file.read(_TAG_BYTES)
    if len(frame) < _HEADER_BYTES or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return None
    version, layer = frame[1] >> 3 & 3, frame[1] >> 1 & 3
    if layer != _LAYER_III:
        return None
    is_mono = frame[3] >> 6 == _MONO
    samples = 1152 if version == _MPEG1 else 576
    side_info = (17 if is_mono else 32) if version == _MPEG1 else (9 if is_mono else 17)
    xing, vbri = frame[_HEADER_BYTES + side_info :], frame[_VBRI_AT:]
    has_tag = xing[:4] in (b"Xing", b"Info") or vbri[:4] == b"VBRI"
    if counts := _read_xing(xing):
        count, before, after = counts
        before, after = before + _DECODER_DELAY, max(0, after - _DECODER_DELAY)
        n_samples = max(0, count * samples - before - after)
        return Mp3Info(samples, has_tag, n_samples, _read_xing_bytes(xing), count, before)
    if vbri[:4] != b"VBRI":
        return Mp3Info(samples, has_tag, None)
    n_frames = _read_vbri_frames(vbri)
    if n_frames is None:
        return Mp3Info(samples, has_tag, None, n_in_tag=samples)
    n_samples, n_bytes = (n_frames + 1) * samples, _read_vbri_bytes(vbri)
    return Mp3Info(samples, has_tag, n_samples, n_bytes, n_frames, n_in_tag=samples)


def _read_xing(tag: bytes) -> tuple[int, int, int] | None:
    """Return the frame count, delay and padding (in samples) of a Xing tag, or None."""
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
    # Decoders ignore the delays if the encoder's name before them is missing.
    has_delays = len(packed) == 3 and tag[end]
    delays = int.from_bytes(packed, "big") if has_delays else 0
    return n_frames, delays >> 12, delays & 0xFFF


def _read_xing_bytes(tag: bytes) -> int | None:
    """Return the number of bytes that a Xing tag counts, or None if it counts none."""
    if tag[:4] not in (b"Xing", b"Info") or len(tag) < 16 or not tag[7] & _HAS_BYTES:
        return None
    return int.from_bytes(tag[12:16], "big") or None


def _read_vbri_frames(tag: bytes) -> int | None:
    """Return the number of frames that a VBRI tag counts, without the frame that holds it."""
    return int.from_bytes(tag[14:18], "big") or None if len(tag) >= 18 else None


def _read_vbri_bytes(tag: bytes) -> int | None:
    """Return the number of bytes that a VBRI tag counts, or None if it counts none."""
    return int.from_bytes(tag[10:14], "big") or None

"""A check whether the frame count in the tag of an MP3 can be trusted.

The count is wrong if files were joined (it counts the first file only), if the end was cut off, if
the encoder did not finish, or if frames are damaged. Sizes in bytes reveal all of these, so the
frames of an intact file need not be counted.
"""

import os
from typing import BinaryIO

from pipeline.decode.headers.mp3.frame_header import read_frame_headers
from pipeline.decode.headers.mp3.tag import Mp3Info
from pipeline.decode.headers.tags import size_of_trailing_tags, skip_id3

_PROBE_BYTES = 1 << 13
_MIN_FRAMES = 4
"""Number of frames after the first that are needed to estimate the size of a frame."""


def is_count_doubtful(file: BinaryIO, info: Mp3Info) -> bool:
    """Return whether the frames must be counted, because the tag's count is missing or doubtful.

    Args:
        file: File opened for reading; its position is moved.
        info: Content of the tag in the first frame.
    """
    if info.n_frames is None:
        return True
    start = skip_id3(file)
    n_bytes = file.seek(0, os.SEEK_END) - start
    file.seek(start)
    content = file.read(_PROBE_BYTES)
    frames = read_frame_headers(content, is_complete=n_bytes <= _PROBE_BYTES)
    if sum(frame.n_bytes for frame in frames) < len(content) - size_of_trailing_tags(file):
        return True  # something other than a frame lies between the frames
    # Some encoders do not count the bytes of the first frame, which holds the tag.
    allowed = (0, frames[0].n_bytes) if frames else (0,)
    if info.n_bytes is not None and n_bytes - info.n_bytes not in allowed:
        n_bytes -= size_of_trailing_tags(file)
        if n_bytes - info.n_bytes not in allowed:
            return True
    sizes = [frame.n_bytes for frame in frames[1:]]
    if len(sizes) < _MIN_FRAMES:
        return n_bytes <= _PROBE_BYTES
    is_constant = max(sizes) - min(sizes) <= 1
    estimate = n_bytes * len(sizes) / sum(sizes)
    difference = abs(estimate - info.n_frames)
    return difference > (0.02 * estimate + 2 if is_constant else 0.5 * estimate)

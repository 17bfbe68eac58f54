"""Whether the count of its frames that an MP3 carries is to be relied on.

The count is wrong where files were joined (it is that of the first), where the end was cut off,
where an encoder did not finish it, and where frames are damaged. Sizes betray that, so the frames
of a sound file need not be walked over.
"""

import os
from typing import BinaryIO

from pipeline.decode.headers.mp3.frame_header import read_frame_headers
from pipeline.decode.headers.mp3.tag import Mp3Info
from pipeline.decode.headers.tags import size_of_trailing_tags, skip_id3

_LOOK_BYTES = 1 << 13
_LEAST_FRAMES = 4


def is_count_doubtful(file: BinaryIO, mpeg: Mp3Info) -> bool:
    """Return whether only a walk over the frames tells how many there are.

    Args:
        file: File opened for reading; its position is moved.
        mpeg: What its first frame says.
    """
    if mpeg.n_frames is None:
        return True
    start = skip_id3(file)
    n_bytes = file.seek(0, os.SEEK_END) - start
    file.seek(start)
    looked_at = file.read(_LOOK_BYTES)
    head = read_frame_headers(looked_at, is_complete=n_bytes <= _LOOK_BYTES)
    if sum(frame.n_bytes for frame in head) < len(looked_at) - size_of_trailing_tags(file):
        return True  # something between the frames is none
    # The first frame is the one that the count stands in; some encoders leave it out.
    as_counted = (0, head[0].n_bytes) if head else (0,)
    if mpeg.n_bytes is not None and n_bytes - mpeg.n_bytes not in as_counted:
        n_bytes -= size_of_trailing_tags(file)
        if n_bytes - mpeg.n_bytes not in as_counted:
            return True
    sizes = [frame.n_bytes for frame in head[1:]]
    if len(sizes) < _LEAST_FRAMES:
        return n_bytes <= _LOOK_BYTES
    is_constant = max(sizes) - min(sizes) <= 1
    likely = n_bytes * len(sizes) / sum(sizes)
    difference = abs(likely - mpeg.n_frames)
    return difference > (0.02 * likely + 2 if is_constant else 0.5 * likely)

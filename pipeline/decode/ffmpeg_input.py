"""The one place that decides what FFmpeg may open: one audio file, and nothing that it names.

FFmpeg knows formats that are not recordings but lists of them (concat scripts, HLS playlists, SDP,
DASH manifests), formats that are programs (SBaGen, synthesizer scripts), and formats that refer to
other files. It recognizes them by content, so any of them may lie in a corpus under the name of an
audio file. Only demuxers that read a single file are allowed, and no protocol at all: the bytes
come from a Python file object, and a demuxer that tries to open anything else is refused.
"""

from typing import Any, BinaryIO

import av

SINGLE_FILE_FORMATS = (
    "aac", "ac3", "aiff", "amr", "amrnb", "amrwb", "ape", "asf", "au", "avi", "caf", "dsf", "dts",
    "dtshd", "eac3", "flac", "flv", "loas", "matroska", "mlp", "mov", "mp3", "mpc", "mpc8", "mpeg",
    "mpegts", "nistsphere", "ogg", "shn", "tak", "truehd", "tta", "voc", "w64", "wav", "wv",
)  # fmt: skip
"""FFmpeg's names of the containers that hold their audio themselves."""
_OPTIONS = {
    "format_whitelist": ",".join(SINGLE_FILE_FORMATS),
    # No protocol is called so: a name that is opened from within a file is always refused.
    "protocol_whitelist": "none",
}


def open_ffmpeg_container(file: BinaryIO) -> Any:
    """Open a recording with FFmpeg, as a PyAV container.

    Args:
        file: The recording, opened for reading; its position is moved.

    Raises:
        av.FFmpegError: FFmpeg does not know the format, or finds it damaged.
        ValueError: The format is not allowed here.
    """
    try:
        # metadata_errors: a tag in a strange encoding is no reason to lose the audio.
        return av.open(file, "r", metadata_errors="replace", container_options=dict(_OPTIONS))
    except av.ArgumentError as error:
        raise ValueError(
            "its content is of a format that is not opened, as it may name other files; only "
            "containers that hold their audio themselves are"
        ) from error

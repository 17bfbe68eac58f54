"""The only function that opens files with FFmpeg, limited to formats that name no other files.

FFmpeg also reads lists of recordings (concat scripts, HLS playlists, SDP, DASH manifests), programs
(SBaGen, synthesizer scripts), and formats that refer to other files. It recognizes a format by
content, so a corpus may contain such a file under the name of an audio file. Only demuxers that
read a single file are therefore allowed. No protocol is allowed: the bytes come from a Python file
object, and FFmpeg refuses to open anything else.
"""

from typing import Any, BinaryIO

import av

SINGLE_FILE_FORMATS = (
    "aac", "ac3", "aiff", "amr", "amrnb", "amrwb", "ape", "asf", "au", "avi", "caf", "dsf", "dts",
    "dtshd", "eac3", "flac", "flv", "loas", "matroska", "mlp", "mov", "mp3", "mpc", "mpc8", "mpeg",
    "mpegts", "nistsphere", "ogg", "shn", "tak", "truehd", "tta", "voc", "w64", "wav", "wv",
)  # fmt: skip
"""Names, in FFmpeg, of the containers that hold their audio themselves."""
_OPTIONS = {
    "format_whitelist": ",".join(SINGLE_FILE_FORMATS),
    # No protocol has this name, so FFmpeg opens no URL or path that a file contains.
    "protocol_whitelist": "none",
}


def open_ffmpeg_container(file: BinaryIO) -> Any:
    """Open a recording with FFmpeg, as a PyAV container.

    Args:
        file: File opened for reading; its position is moved.

    Raises:
        av.FFmpegError: FFmpeg does not know the format, or finds it damaged.
        ValueError: The format is not one of `SINGLE_FILE_FORMATS`.
    """
    try:
        # A tag in an unknown text encoding must not make the audio unreadable.
        return av.open(file, "r", metadata_errors="replace", container_options=dict(_OPTIONS))
    except av.ArgumentError as error:
        raise ValueError(
            "its content is in a format that is not opened, because it may name other files; "
            "convert it to a container that holds its audio itself"
        ) from error

"""Opening of a file's audio stream with libsndfile or FFmpeg.

libsndfile is tried first, and then FFmpeg (through PyAV). For Vorbis and Opus FFmpeg is tried
first, because it decodes them twice as fast. The first bytes of a file decide, not its name. Both
decoders give the same samples, because both remove the encoder delay that a file declares. If an
MP3 has no tag, the usual delay is removed here. Channels are not mixed.

If an MP3 does not count its frames, or its count is doubtful, the frames are counted here, and the
file is decoded up to its last frame; see `mp3_stream`.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO

import av
import soundfile

from pipeline.decode.audio_stream import LIBSNDFILE, AudioStream
from pipeline.decode.bare_stream import limit_to_frames, report_losses
from pipeline.decode.ffmpeg import FFMPEG, open_ffmpeg
from pipeline.decode.flac_stream import find_flac_stream, open_flac
from pipeline.decode.guards.decoder_call import decoder_call, guard_stream
from pipeline.decode.guards.error_text import explain_decoder_error
from pipeline.decode.headers.bare_frames import find_bare_frames
from pipeline.decode.headers.mp3.count import is_count_doubtful
from pipeline.decode.headers.mp3.frames import count_mp3_frames
from pipeline.decode.headers.mp3.tag import ASSUMED_DELAY, read_mp3_info
from pipeline.decode.headers.ogg import OggAudio, find_ogg_end, read_ogg_header
from pipeline.decode.headers.ogg_chain import find_ogg_chain
from pipeline.decode.headers.tags import check_tags
from pipeline.decode.libsndfile import open_libsndfile
from pipeline.decode.mp3_stream import check_frames, drop_first_frames, open_mp3_to_end
from pipeline.errors import CannotDecodeError
from pipeline.limits import DEFAULT_DECODER_MEMORY_BYTES

DECODER_ERRORS = (
    soundfile.SoundFileError,
    av.FFmpegError,
    ValueError,
    RuntimeError,
    TypeError,
    EOFError,
)
"""Exceptions of both decoders on files that they cannot decode.

MemoryError is not among them, because it says nothing about the file: the frames read before it
would pass for a truncated file. If a damaged header asks for too much memory, FFmpeg raises an
FFmpegError.
"""
_MAX_PROBED_BYTES = 1 << 17
"""Largest size of a file without a container that is searched for damage by a probe, in bytes."""
_FFMPEG_FIRST_CODECS = ("vorbis", "opus")
"""Codecs in Ogg for which FFmpeg is tried first."""


@contextlib.contextmanager
def open_audio(
    file: BinaryIO,
    memory_bytes: int = DEFAULT_DECODER_MEMORY_BYTES,
    *,
    is_to_decode: bool = True,
) -> Iterator[AudioStream]:
    """Open a recording with the first decoder that can decode it.

    Args:
        file: File opened for reading; its position is moved. It needs a descriptor to be decoded.
        memory_bytes: Largest amount of memory that one step of a decoder may take, in bytes.
        is_to_decode: Whether the whole recording will be decoded. If not, large files without a
            container are not searched for damage.

    Raises:
        CannotDecodeError: No decoder can decode the file.
        HostError: This machine has no space, descriptors or memory left.
    """
    check_tags(file)
    mp3_info = read_mp3_info(file)
    libsndfile_opener: Callable[[BinaryIO], Any] = open_libsndfile
    if mp3_info and is_count_doubtful(file, mp3_info) and (frames := count_mp3_frames(file)):
        check_frames(mp3_info, frames)
        libsndfile_opener = partial(
            open_mp3_to_end, mp3_info=mp3_info, frames=frames, open_libsndfile=open_libsndfile
        )
    ffmpeg_opener: Callable[[BinaryIO], Any] = open_ffmpeg
    flac = find_flac_stream(file)
    bare = None
    if not mp3_info and not flac:
        bare = find_bare_frames(file, None if is_to_decode else _MAX_PROBED_BYTES)
    ogg = None if mp3_info or flac or bare else read_ogg_header(file)
    chain = find_ogg_chain(file, ogg) if ogg else None
    if chain:
        ffmpeg_opener = partial(open_ffmpeg, chain=chain)
    if bare:
        libsndfile_opener, ffmpeg_opener = limit_to_frames(bare, open_libsndfile, open_ffmpeg)
    decoders: list[tuple[str, Callable[[BinaryIO], Any]]] = [
        (LIBSNDFILE, libsndfile_opener),
        (FFMPEG, ffmpeg_opener),
    ]
    if flac:
        decoders[0] = (LIBSNDFILE, partial(open_flac, stream=flac, opener=open_libsndfile))
    elif chain or (ogg and _prefers_ffmpeg(file, ogg)):
        decoders.reverse()
    reasons = []
    with contextlib.ExitStack() as stack:
        for name, decoder in decoders:
            try:
                with decoder_call(memory_bytes):
                    stream = stack.enter_context(decoder(file))
                break
            except DECODER_ERRORS as error:
                reasons.append(f"{name}: {describe_error(error)}")
        else:
            raise CannotDecodeError("undecodable", "; ".join(reasons))
        if mp3_info and not mp3_info.has_tag:
            pieces = drop_first_frames(stream.pieces, ASSUMED_DELAY)
            stream = dataclasses.replace(stream, pieces=pieces)
        if bare:
            stream = report_losses(stream, bare)
        yield guard_stream(stream, memory_bytes)


def describe_error(error: Exception) -> str:
    """Return a decoder's message, without the number of the file's descriptor."""
    if isinstance(error, soundfile.LibsndfileError):
        return explain_decoder_error(str(error.error_string).rstrip("."))
    if isinstance(error, av.FFmpegError):
        return explain_decoder_error(str(error.strerror))
    return str(error) or type(error).__name__


def _prefers_ffmpeg(file: BinaryIO, audio: OggAudio) -> bool:
    """Return whether FFmpeg should be tried before libsndfile for an Ogg file."""
    if audio.codec not in _FFMPEG_FIRST_CODECS:
        return False
    # If all Vorbis audio is on one page, FFmpeg's length is wrong by up to a block.
    end = find_ogg_end(file, audio)
    return not (audio.codec == "vorbis" and end and end.is_one_page)

"""Choosing the decoder of a file, libsndfile or FFmpeg, and opening its audio stream.

libsndfile is tried first, and FFmpeg (through PyAV) opens what it does not know. Vorbis and Opus go
to FFmpeg first, which decodes them twice as fast. The first bytes of a file decide, not its name.
Both decoders give the same samples: they remove the same encoder delays, if the file declares them.
The delay of an MP3 that declares none is assumed here. Channels are not mixed.

The frames of an MP3 that does not count them, or whose count is doubtful, are counted here, and the
file is read up to the last one; see `mp3_stream`.
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
_SEARCHED_BYTES = 1 << 17
_FASTER_BY_FFMPEG = ("vorbis", "opus")


@contextlib.contextmanager
def open_audio(
    file: BinaryIO,
    memory_bytes: int = DEFAULT_DECODER_MEMORY_BYTES,
    *,
    is_to_decode: bool = True,
) -> Iterator[AudioStream]:
    """Open a recording with the first decoder that makes frames of it.

    Args:
        file: File opened for reading; its position is moved. It needs a descriptor to be decoded.
        memory_bytes: Memory that one step of a decoder may take, in bytes.
        is_to_decode: Whether all of it will be decoded. If not, large files are not searched for
            damage.

    Raises:
        CannotDecodeError: No decoder makes frames of it.
        HostError: This machine has no space, descriptors or memory left.
    """
    check_tags(file)
    mpeg = read_mp3_info(file)
    first: Callable[[BinaryIO], Any] = open_libsndfile
    if mpeg and is_count_doubtful(file, mpeg) and (frames := count_mp3_frames(file)):
        check_frames(mpeg, frames)
        first = partial(open_mp3_to_end, mpeg=mpeg, frames=frames, by_libsndfile=open_libsndfile)
    second: Callable[[BinaryIO], Any] = open_ffmpeg
    flac = find_flac_stream(file)
    bare = None
    if not mpeg and not flac:
        bare = find_bare_frames(file, None if is_to_decode else _SEARCHED_BYTES)
    ogg = None if mpeg or flac or bare else read_ogg_header(file)
    chain = find_ogg_chain(file, ogg) if ogg else None
    if chain:
        second = partial(open_ffmpeg, chain=chain)
    if bare:
        first, second = limit_to_frames(bare, open_libsndfile, open_ffmpeg)
    decoders: list[tuple[str, Callable[[BinaryIO], Any]]] = [
        (LIBSNDFILE, first),
        (FFMPEG, second),
    ]
    if flac:
        decoders[0] = (LIBSNDFILE, partial(open_flac, stream=flac, opener=open_libsndfile))
    elif chain or (ogg and _is_for_ffmpeg(file, ogg)):
        decoders.reverse()
    reasons = []
    with contextlib.ExitStack() as stack:
        for name, decoder in decoders:
            try:
                with decoder_call(memory_bytes):
                    sound = stack.enter_context(decoder(file))
                break
            except DECODER_ERRORS as error:
                reasons.append(f"{name}: {describe_error(error)}")
        else:
            raise CannotDecodeError("undecodable", "; ".join(reasons))
        if mpeg and not mpeg.has_tag:
            pieces = drop_first_frames(sound.pieces, ASSUMED_DELAY)
            sound = dataclasses.replace(sound, pieces=pieces)
        if bare:
            sound = report_losses(sound, bare)
        yield guard_stream(sound, memory_bytes)


def describe_error(error: Exception) -> str:
    """Return a decoder's message, without the number of the file's descriptor."""
    if isinstance(error, soundfile.LibsndfileError):
        return explain_decoder_error(str(error.error_string).rstrip("."))
    if isinstance(error, av.FFmpegError):
        return explain_decoder_error(str(error.strerror))
    return str(error) or type(error).__name__


def _is_for_ffmpeg(file: BinaryIO, audio: OggAudio) -> bool:
    if audio.codec not in _FASTER_BY_FFMPEG:
        return False
    # Where Vorbis begins and ends on a single page, FFmpeg is up to a block off.
    end = find_ogg_end(file, audio)
    return not (audio.codec == "vorbis" and end and end.is_one_page)

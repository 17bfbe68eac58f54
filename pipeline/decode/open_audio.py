"""A file to float32 frames by libsndfile or by FFmpeg, whichever knows the format and is faster.

libsndfile goes first, and FFmpeg (through PyAV) takes what it does not know. Vorbis and Opus go to
FFmpeg first, which decodes them twice as fast; what a file is, its first bytes say and not its
name. Both give the same samples: they take off the same encoder delays, where the file has them;
those of an MP3 that does not are guessed here. Nothing is mixed.

An MP3 that does not count its frames, or seems to count them wrong, has them counted here, and is
read up to the last one: see `mpeg_to_the_end`.
"""

import contextlib
import dataclasses
import io
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO

import av
import soundfile

from pipeline.decode.audio_stream import LIBSNDFILE, PIECE_FRAMES, CannotDecodeError, Samples, Sound
from pipeline.decode.bare_stream import only_frames, with_losses
from pipeline.decode.ffmpeg import FFMPEG, by_ffmpeg
from pipeline.decode.flac_stream import flac_sound, flac_stream
from pipeline.decode.guards.decoder_call import decoder_step, guard_sound
from pipeline.decode.guards.error_text import in_plain_words
from pipeline.decode.headers.bare_frames import bare_frames
from pipeline.decode.headers.mp3.count import is_count_doubtful
from pipeline.decode.headers.mp3.frames import mpeg_frames
from pipeline.decode.headers.mp3.tag import UNTOLD_DELAY, mpeg_audio
from pipeline.decode.headers.ogg import OggAudio, ogg_audio, ogg_end
from pipeline.decode.headers.ogg_chain import ogg_chain
from pipeline.decode.headers.tags import check_tags
from pipeline.decode.mp3_stream import check_frames, to_the_end, without_first
from pipeline.limits import DEFAULT_DECODER_MEMORY_BYTES

DECODER_ERRORS = (
    soundfile.SoundFileError,
    av.FFmpegError,
    ValueError,
    RuntimeError,
    TypeError,
    EOFError,
)
"""What the two raise on files that they cannot make sense of.

Not MemoryError, which says nothing of the file: what was read before it would pass for a part of a
file that was cut off. That FFmpeg cannot have what a damaged header asks for is an FFmpegError.
"""
_SEARCHED_BYTES = 1 << 17
_PIECE_SAMPLES = 8 * PIECE_FRAMES
_UNKNOWN_LENGTH_FRAMES = 1 << 60
_FASTER_BY_FFMPEG = ("vorbis", "opus")
_SEEKABLE = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC")
_SEEKABLE_SUBTYPES = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")


@contextlib.contextmanager
def open_sound(
    file: BinaryIO,
    memory_bytes: int = DEFAULT_DECODER_MEMORY_BYTES,
    *,
    is_to_decode: bool = True,
) -> Iterator[Sound]:
    """Open a recording with the first decoder that makes frames of it.

    Args:
        file: its position is moved. With a descriptor, wherever more than its length is wanted.
        memory_bytes: Memory that one step of a decoder may take, in bytes.
        is_to_decode: Whether all of it will be decoded. If not, large files are not searched for
            damage.

    Raises:
        CannotDecodeError: No decoder makes frames of it.
        HostError: This machine has no space, descriptors or memory left.
    """
    check_tags(file)
    mpeg = mpeg_audio(file)
    first: Callable[[BinaryIO], Any] = by_libsndfile
    if mpeg and is_count_doubtful(file, mpeg) and (frames := mpeg_frames(file)):
        check_frames(mpeg, frames)
        first = partial(to_the_end, mpeg=mpeg, frames=frames, by_libsndfile=by_libsndfile)
    second: Callable[[BinaryIO], Any] = by_ffmpeg
    flac = flac_stream(file)
    bare = None
    if not mpeg and not flac:
        bare = bare_frames(file, None if is_to_decode else _SEARCHED_BYTES)
    ogg = None if mpeg or flac or bare else ogg_audio(file)
    chain = ogg_chain(file, ogg) if ogg else None
    if chain:
        second = partial(by_ffmpeg, chain=chain)
    if bare:
        first, second = only_frames(bare, by_libsndfile, by_ffmpeg)
    decoders: list[tuple[str, Callable[[BinaryIO], Any]]] = [
        (LIBSNDFILE, first),
        (FFMPEG, second),
    ]
    if flac:
        decoders[0] = (LIBSNDFILE, partial(flac_sound, stream=flac, opener=by_libsndfile))
    elif chain or (ogg and _is_for_ffmpeg(file, ogg)):
        decoders.reverse()
    reasons = []
    with contextlib.ExitStack() as stack:
        for name, decoder in decoders:
            try:
                with decoder_step(memory_bytes):
                    sound = stack.enter_context(decoder(file))
                break
            except DECODER_ERRORS as error:
                reasons.append(f"{name}: {reason_of(error)}")
        else:
            raise CannotDecodeError("undecodable", "; ".join(reasons))
        if mpeg and not mpeg.has_tag:
            sound = dataclasses.replace(sound, pieces=without_first(sound.pieces, UNTOLD_DELAY))
        if bare:
            sound = with_losses(sound, bare)
        yield guard_sound(sound, memory_bytes)


def reason_of(error: Exception) -> str:
    """What a decoder says, without the descriptor number that it knows the file by."""
    if isinstance(error, soundfile.LibsndfileError):
        return in_plain_words(str(error.error_string).rstrip("."))
    if isinstance(error, av.FFmpegError):
        return in_plain_words(str(error.strerror))
    return str(error) or type(error).__name__


def _is_for_ffmpeg(file: BinaryIO, audio: OggAudio) -> bool:
    if audio.codec not in _FASTER_BY_FFMPEG:
        return False
    # Where Vorbis begins and ends on a single page, FFmpeg is up to a block off.
    end = ogg_end(file, audio)
    return not (audio.codec == "vorbis" and end and end.is_one_page)


@contextlib.contextmanager
def by_libsndfile(file: BinaryIO, n_at_once: int = PIECE_FRAMES) -> Iterator[Sound]:
    """A recording as libsndfile decodes it.

    Args:
        file: its position is moved.
        n_at_once: Most frames to read at once, which are lost together where they are damaged.
    """
    with soundfile.SoundFile(_for_libsndfile(file), closefd=False) as sound:
        # Of an MP3 without a count of its frames it is a guess.
        is_exact = sound.format != "MP3" and sound.frames < _UNKNOWN_LENGTH_FRAMES
        at_once = max(1, min(n_at_once, _PIECE_SAMPLES // sound.channels))
        yield Sound(
            sound.samplerate,
            sound.channels,
            _read(sound, at_once),
            LIBSNDFILE,
            sound.frames if is_exact else None,
            seek=partial(_seek, sound) if is_exact and _begins_anywhere(sound) else None,
            about_frames=sound.frames if sound.frames < _UNKNOWN_LENGTH_FRAMES else None,
        )


def _for_libsndfile(file: BinaryIO) -> int | BinaryIO:
    """A descriptor where there is one: libsndfile then reads natively, with no calls to Python."""
    try:
        descriptor = file.fileno()
    except io.UnsupportedOperation:
        file.seek(0)
        return file
    # What is buffered is forgotten by this: a file that can be written to goes back by as much when
    # it is closed, from where libsndfile has moved it.
    file.seek(0, os.SEEK_END)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _begins_anywhere(sound: soundfile.SoundFile) -> bool:
    # In MP3 libsndfile ends up elsewhere, by up to a second, and says nothing.
    return sound.format in _SEEKABLE and sound.subtype.startswith(_SEEKABLE_SUBTYPES)


def _seek(sound: soundfile.SoundFile, frame: int) -> int:
    at: int = sound.seek(min(frame, sound.frames))
    return at


def _read(sound: soundfile.SoundFile, at_once: int) -> Iterator[Samples]:
    while len(frames := sound.read(at_once, dtype="float32", always_2d=True)):
        yield frames

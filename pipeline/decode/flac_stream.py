"""Decoding of all samples of a FLAC by libsndfile, also if the header counts them wrong.

libsndfile relies on the sample count in the header. If the count is missing or too large,
libsndfile fails at the end. If it is too small, or if several FLACs were joined to one file,
libsndfile stops early. The file is then opened again with a corrected header. For an intact file,
only its last bytes are read in addition, to find out that no audio was left out.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO

import soundfile

from pipeline.decode.audio_stream import PIECE_FRAMES, AudioStream
from pipeline.decode.headers.flac.frame import (
    SIGNATURES,
    STREAM_BYTES,
    FlacStream,
    iter_frames_backwards,
    read_streaminfo,
)
from pipeline.decode.headers.flac.length import (
    FlacAudio,
    check_fits,
    check_whole,
    find_flac_audio,
    iter_other_parts,
    open_corrected,
)
from pipeline.decode.headers.tags import skip_id3
from pipeline.samples import Samples

Opener = Callable[[BinaryIO, int], AbstractContextManager[AudioStream]]
"""Function that opens a file with libsndfile; it takes the number of frames to read at once."""
DAMAGE = (soundfile.SoundFileError, RuntimeError)
"""Exceptions of libsndfile if the audio is damaged, or ends before its declared end."""
_TAIL_BYTES = 1 << 15
"""Number of bytes at the end of a file that are searched for more audio.

It is twice the number of bytes that libFLAC reads ahead of the decoded audio.
"""


def find_flac_stream(file: BinaryIO) -> FlacStream | None:
    """Return the STREAMINFO of a FLAC; None if the file is no FLAC.

    Args:
        file: File opened for reading; its position is moved.
    """
    file.seek(skip_id3(file))
    return read_streaminfo(file.read(STREAM_BYTES))


@contextlib.contextmanager
def open_flac(file: BinaryIO, stream: FlacStream, opener: Opener) -> Iterator[AudioStream]:
    """Open a FLAC so that all of its samples are decoded.

    Args:
        file: File opened for reading; its position is moved.
        stream: STREAMINFO of the file.
        opener: Function that opens a file with libsndfile.

    Raises:
        ValueError: The file has no complete frame.
    """
    with contextlib.ExitStack() as stack:
        decoder = _FlacDecoder(file, stream, opener, stack)
        audio_stream = decoder.open()
        seek = decoder.seek if audio_stream.seek else None
        yield dataclasses.replace(audio_stream, pieces=decoder.pieces(), seek=seek)


class _FlacDecoder:
    """A decoder of one FLAC file that opens the file again if its header is wrong.

    Args:
        file: File opened for reading; its position is moved.
        stream: STREAMINFO of the file.
        opener: Function that opens a file with libsndfile.
        stack: Stack that closes the opened streams.
    """

    def __init__(
        self, file: BinaryIO, stream: FlacStream, opener: Opener, stack: contextlib.ExitStack
    ) -> None:
        self._file = file
        self._stream = stream
        self._opener = opener
        self._stack = stack
        self._audio_stream: AudioStream
        self._audio: FlacAudio | None = None  # None until the real length is searched
        self._position = self._skip = 0

    def open(self) -> AudioStream:
        """Open the first FLAC of the file; with a corrected header if it has no sample count."""
        if self._stream.n_samples:
            self._audio_stream = self._stack.enter_context(self._opener(self._file, PIECE_FRAMES))
        else:
            self._reopen(0)
        return self._audio_stream

    def seek(self, frame: int) -> int:
        """Seek to a sample or before it; return the resulting position."""
        if self._audio_stream.seek is None:
            return 0
        position = self._descriptor_position()
        audio = find_flac_audio(self._file)
        if audio is None or audio.first or audio.other_starts:
            # libsndfile seeks by the numbers in the frames. They do not begin at 0 in a FLAC that
            # was cut out of another, and begin again in each of several joined FLACs.
            if position is not None:
                os.lseek(self._file.fileno(), position, os.SEEK_SET)  # libsndfile continues here
            return 0
        try:
            self._position = self._audio_stream.seek(frame)
        except DAMAGE:
            self._reopen(frame)
        return self._position

    def pieces(self) -> Iterator[Samples]:
        """Yield all samples of the file, also those that the header does not count.

        Raises:
            CannotDecodeError: One of several joined FLACs is shorter than declared.
            ValueError: The sample rate or the channels change between joined FLACs.
        """
        try:
            yield from self._decode_rest()
        except DAMAGE:
            self._reopen(self._position)
            yield from self._decode_rest()
        if self._audio is None and self._may_have_more_audio():
            self._audio = find_flac_audio(self._file, is_exhaustive=True)
            if self._audio and self._audio.n_samples and self._audio.n_samples > self._position:
                self._reopen(self._position)
                yield from self._decode_rest()
        if self._audio is None or not self._audio.other_starts:
            return
        check_whole(self._audio)
        for other in iter_other_parts(self._file, self._audio):
            check_fits(other, self._stream)
            check_whole(other)
            yield from self._decode_part(other)

    def _decode_part(self, part: FlacAudio) -> Iterator[Samples]:
        """Yield the samples of one of the FLACs that follow the first."""
        n_decoded = 0
        with (
            contextlib.suppress(*DAMAGE),
            self._opener(open_corrected(self._file, part), PIECE_FRAMES) as audio_stream,
        ):
            for piece in audio_stream.pieces:
                n_decoded += len(piece)
                yield piece
        check_whole(part, n_decoded)

    def _reopen(self, position: int) -> None:
        """Open the FLAC at a sample, with a corrected header.

        Except at the start of a file without a count, pieces are one block long, so that damage
        loses few samples.

        Raises:
            ValueError: The file has no complete frame.
        """
        self._audio = audio = self._audio or find_flac_audio(self._file)
        if audio is None or audio.n_samples is None:
            raise ValueError("has no complete frame")
        stream = self._stream
        if not audio.n_samples:
            self._audio_stream = AudioStream(
                stream.sample_rate_hz, stream.channels, iter(()), "", 0
            )
            return
        n_at_once = stream.max_block_samples if position or stream.n_samples else PIECE_FRAMES
        file = open_corrected(self._file, audio)
        self._audio_stream = self._stack.enter_context(self._opener(file, n_at_once))
        self._position = (
            self._audio_stream.seek(position)
            if self._audio_stream.seek and position and not audio.first
            else 0
        )
        self._skip = max(0, position - self._position)

    def _decode_rest(self) -> Iterator[Samples]:
        """Yield the remaining samples of the open stream."""
        for piece in self._audio_stream.pieces:
            self._position += len(piece)
            kept = piece[self._skip :]
            self._skip = max(0, self._skip - len(piece))
            if len(kept):
                yield kept

    def _descriptor_position(self) -> int | None:
        """Return the offset up to which libsndfile has read; None if there is no descriptor."""
        try:
            return os.lseek(self._file.fileno(), 0, os.SEEK_CUR)
        except OSError:
            return None

    def _may_have_more_audio(self) -> bool:
        """Return whether there may be audio after the samples that the header counts."""
        position, size = self._descriptor_position(), self._file.seek(0, os.SEEK_END)
        if position is not None and position < size:
            return True
        start = max(STREAM_BYTES, size - max(_TAIL_BYTES, 2 * self._stream.max_frame_bytes))
        self._file.seek(start)
        tail = self._file.read(size - start)
        _, last = next(iter_frames_backwards(tail, self._stream), (0, None))
        return (
            last is None or last.end != self._position or any(each in tail for each in SIGNATURES)
        )

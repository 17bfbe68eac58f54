"""Decoding all samples of a FLAC by libsndfile, which relies on the header's count.

A sound file is decoded as any other, and only a look at its end shows that nothing was left out.
Where the count is missing or too large, libsndfile fails at the end; where it is too small, and
where FLACs were joined, it stops early. It is then given the file under a header that is right.
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
DAMAGE = (soundfile.SoundFileError, RuntimeError)
"""What libsndfile raises where the audio ends before the header says so, or is damaged."""
_TAIL_BYTES = 1 << 15
"""Twice as many as libFLAC reads more than it decodes."""


def find_flac_stream(file: BinaryIO) -> FlacStream | None:
    """Return what the header of a FLAC says; None where the file is none.

    Args:
        file: File opened for reading; its position is moved.
    """
    file.seek(skip_id3(file))
    return read_streaminfo(file.read(STREAM_BYTES))


@contextlib.contextmanager
def open_flac(file: BinaryIO, stream: FlacStream, opener: Opener) -> Iterator[AudioStream]:
    """Open a FLAC, to be decoded to its end.

    Args:
        file: File opened for reading; its position is moved.
        stream: What its header says.
        opener: The decoder, which takes the file and the number of samples to read at once.
    """
    with contextlib.ExitStack() as stack:
        flac = _Flac(file, stream, opener, stack)
        sound = flac.open()
        seek = flac.seek if sound.seek else None
        yield dataclasses.replace(sound, pieces=flac.pieces(), seek=seek)


class _Flac:
    def __init__(
        self, file: BinaryIO, stream: FlacStream, opener: Opener, stack: contextlib.ExitStack
    ) -> None:
        self._file = file
        self._stream = stream
        self._opener = opener
        self._stack = stack
        self._sound: AudioStream
        self._audio: FlacAudio | None = None  # where the whole file had to be searched
        self._at = self._skip = 0

    def open(self) -> AudioStream:
        """Open the FLAC, or the first one of the file."""
        if self._stream.n_samples:
            self._sound = self._stack.enter_context(self._opener(self._file, PIECE_FRAMES))
        else:
            self._reopen(0)
        return self._sound

    def seek(self, frame: int) -> int:
        """Seek to a sample or before it; return the position."""
        if self._sound.seek is None:
            return 0
        at = self._descriptor_at()
        audio = find_flac_audio(self._file)
        if audio is None or audio.first or audio.other_starts:
            # libsndfile looks for samples by the numbers that frames have.
            if at is not None:
                os.lseek(self._file.fileno(), at, os.SEEK_SET)  # where it reads on
            return 0
        try:
            self._at = self._sound.seek(frame)
        except DAMAGE:
            self._reopen(frame)
        return self._at

    def pieces(self) -> Iterator[Samples]:
        """Yield all samples, also those after the ones that the header counts."""
        try:
            yield from self._rest()
        except DAMAGE:
            self._reopen(self._at)
            yield from self._rest()
        if self._audio is None and self._is_more_behind():
            self._audio = find_flac_audio(self._file, is_exhaustive=True)
            if self._audio and self._audio.n_samples and self._audio.n_samples > self._at:
                self._reopen(self._at)
                yield from self._rest()
        if self._audio is None or not self._audio.other_starts:
            return
        check_whole(self._audio)
        for other in iter_other_parts(self._file, self._audio):
            check_fits(other, self._stream)
            check_whole(other)
            yield from self._part(other)

    def _part(self, part: FlacAudio) -> Iterator[Samples]:
        """Yield the samples of one of the FLACs behind the first."""
        n_decoded = 0
        with (
            contextlib.suppress(*DAMAGE),
            self._opener(open_corrected(self._file, part), PIECE_FRAMES) as sound,
        ):
            for piece in sound.pieces:
                n_decoded += len(piece)
                yield piece
        check_whole(part, n_decoded)

    def _reopen(self, at: int) -> None:
        """Open the FLAC under a header that is right, at a sample; damage ends a read soon."""
        self._audio = audio = self._audio or find_flac_audio(self._file)
        if audio is None or audio.n_samples is None:
            raise ValueError("has no whole frame")
        stream = self._stream
        if not audio.n_samples:
            self._sound = AudioStream(stream.sample_rate_hz, stream.channels, iter(()), "", 0)
            return
        n_at_once = stream.max_block_samples if at or stream.n_samples else PIECE_FRAMES
        file = open_corrected(self._file, audio)
        self._sound = self._stack.enter_context(self._opener(file, n_at_once))
        self._at = self._sound.seek(at) if self._sound.seek and at and not audio.first else 0
        self._skip = max(0, at - self._at)

    def _rest(self) -> Iterator[Samples]:
        for piece in self._sound.pieces:
            self._at += len(piece)
            kept = piece[self._skip :]
            self._skip = max(0, self._skip - len(piece))
            if len(kept):
                yield kept

    def _descriptor_at(self) -> int | None:
        """Return the offset that libsndfile has read to; None where it has no descriptor."""
        try:
            return os.lseek(self._file.fileno(), 0, os.SEEK_CUR)
        except OSError:
            return None

    def _is_more_behind(self) -> bool:
        """Return whether there may be audio behind what the header counts."""
        at, size = self._descriptor_at(), self._file.seek(0, os.SEEK_END)
        if at is not None and at < size:
            return True
        start = max(STREAM_BYTES, size - max(_TAIL_BYTES, 2 * self._stream.max_frame_bytes))
        self._file.seek(start)
        tail = self._file.read(size - start)
        _, last = next(iter_frames_backwards(tail, self._stream), (0, None))
        return last is None or last.end != self._at or any(each in tail for each in SIGNATURES)

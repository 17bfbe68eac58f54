"""One decoder shared by all clips that are cut from a file.

Most formats cannot be seeked without changing the decoded samples, so every clip would decode the
file from its start. Clips sorted by start time share one pass instead. The most recently decoded
frames are buffered, because clips may overlap.
"""

import contextlib
import dataclasses
import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from pipeline.decode.audio_stream import AudioStream
from pipeline.decode.corrected_file import correct_header
from pipeline.decode.headers.declared_length import DeclaredLength
from pipeline.decode.open_audio import open_audio
from pipeline.errors import ClipError
from pipeline.limits import Limits
from pipeline.samples import Samples

BUFFER_BYTES = 32 << 20
"""Bytes of decoded frames that are buffered: 90 s of stereo at 48 kHz."""

OpenFile = Callable[[int], contextlib.AbstractContextManager[BinaryIO]]


class OpenStream(NamedTuple):
    """A file that is open and ready to be decoded.

    Attributes:
        sound: The decoder's stream.
        promise: Length that the file declares.
        n_bytes: Size of the file.
    """

    stream: AudioStream
    declared: DeclaredLength | None
    n_bytes: int


@contextlib.contextmanager
def open_stream(open_file: OpenFile, limits: Limits) -> Iterator[OpenStream]:
    """Open a file's audio stream, with the length that the file declares.

    Args:
        open_file: Opens the file, if it has at most the given number of bytes.
        limits: Largest file, and memory that the decoder may take.

    Raises:
        ClipError: The file cannot be opened.
        CannotDecodeError: No decoder knows the file.
    """
    with open_file(limits.max_clip_bytes) as file:
        n_bytes = file.seek(0, os.SEEK_END)
        corrected = correct_header(file)
        with open_audio(corrected.file, limits.decoder_memory_bytes) as sound:
            yield OpenStream(corrected.ended(sound), corrected.promise, n_bytes)


class SharedDecoder:
    """One open file, whose clips are decoded one after the other; close it.

    Args:
        open_file: Opens the file.
        check: Called with the open file after each clip; raises a ClipError if it has changed.
        buffer_bytes: Largest number of bytes of decoded frames in the buffer.
    """

    def __init__(
        self,
        open_file: OpenFile,
        check: Callable[[BinaryIO], None],
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        self._open_file = open_file
        self._check = check
        self._buffer_bytes = buffer_bytes
        self._stack = contextlib.ExitStack()
        self._open_stream: OpenStream | None = None
        self._file: BinaryIO | None = None
        self._buffer: deque[tuple[int, Samples]] = deque()  # each with its first frame
        self._position = 0
        self._error: Exception | None = None

    def close(self) -> None:
        """Close the file; the decoder can be used again."""
        # After the last clip has been checked, a change of the file is no clip's error.
        with contextlib.suppress(ClipError):
            self._stack.close()
        self._open_stream, self._error, self._position = None, None, 0
        self._buffer.clear()

    @contextlib.contextmanager
    def open_stream(self, limits: Limits) -> Iterator[OpenStream]:
        """Open the stream for one clip; see the function `open_stream`."""
        ready = self._ready(limits)
        sound = ready.stream
        try:
            yield ready if sound.seek else ready._replace(stream=self._make_seekable(sound, limits))
        except Exception:
            self._check_file()  # a change of the file may be the cause
            raise
        else:
            self._check_file()
        finally:
            if sound.seek:
                self.close()  # a seekable stream can be started only once

    def _ready(self, limits: Limits) -> OpenStream:
        if self._open_stream is None:
            self._open_stream = self._stack.enter_context(open_stream(self._opened, limits))
        return self._open_stream

    @contextlib.contextmanager
    def _opened(self, max_bytes: int) -> Iterator[BinaryIO]:
        with self._open_file(max_bytes) as file:
            self._file = file
            yield file

    def _check_file(self) -> None:
        assert self._file
        self._check(self._file)

    def _make_seekable(self, sound: AudioStream, limits: Limits) -> AudioStream:
        """Return a stream that starts at the present position, or at a frame that it seeks."""
        at: int | None = None

        def seek(frame: int) -> int:
            nonlocal at
            at = self._seek(frame, limits)
            return at

        def pieces() -> Iterator[Samples]:
            yield from self._frames_from(seek(0) if at is None else at)

        return dataclasses.replace(sound, pieces=pieces(), seek=seek)

    def _seek(self, frame: int, limits: Limits) -> int:
        """Prepare to decode from a frame or before it; return the first frame."""
        if starts := [start for start, _ in self._buffer if start <= frame]:
            return starts[-1]
        if self._position:
            self.close()
            self._ready(limits)
        return 0

    def _frames_from(self, at: int) -> Iterator[Samples]:
        yield from [frames for start, frames in self._buffer if start >= at]
        while (frames := self._next_frames()) is not None:
            yield frames

    def _next_frames(self) -> Samples | None:
        if self._error is not None:
            raise self._error
        assert self._open_stream
        try:
            frames = next(self._open_stream.stream.pieces, None)
        except Exception as error:
            self._error = error
            raise
        if frames is not None:
            self._buffer.append((self._position, frames))
            self._position += len(frames)
            while sum(each.nbytes for _, each in self._buffer) > self._buffer_bytes:
                self._buffer.popleft()
        return frames

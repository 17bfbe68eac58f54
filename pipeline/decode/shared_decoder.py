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
"""Size of the buffer of decoded frames in bytes: 90 s of stereo at 48 kHz."""

OpenFile = Callable[[int], contextlib.AbstractContextManager[BinaryIO]]
"""Function that opens a file for reading; it takes the largest size that is allowed, in bytes."""


class OpenStream(NamedTuple):
    """The audio stream of an open file, with facts about the file.

    Attributes:
        stream: Audio stream of the file.
        declared: Length that the file declares; None if it declares none.
        n_bytes: Size of the file in bytes.
    """

    stream: AudioStream
    declared: DeclaredLength | None
    n_bytes: int


@contextlib.contextmanager
def open_stream(open_file: OpenFile, limits: Limits) -> Iterator[OpenStream]:
    """Open a file's audio stream, with the length that the file declares.

    Args:
        open_file: Function that opens the file.
        limits: Limits of the file's size and of the decoder's memory.

    Raises:
        ClipError: The file cannot be opened, or is larger than the limit.
        CannotDecodeError: No decoder can decode the file.
    """
    with open_file(limits.max_clip_bytes) as file:
        n_bytes = file.seek(0, os.SEEK_END)
        corrected = correct_header(file)
        with open_audio(corrected.file, limits.decoder_memory_bytes) as stream:
            yield OpenStream(corrected.ended(stream), corrected.promise, n_bytes)


class SharedDecoder:
    """One decoder for all clips of a file, which are decoded one after the other.

    The file is opened for the first clip, and must be closed after the last clip. If the decoder
    can seek, the file is opened again for each clip.

    Args:
        open_file: Function that opens the file.
        check: Function that is called with the open file after each clip. It raises ClipError if
            the file has changed.
        buffer_bytes: Largest size of the buffer of decoded frames in bytes.
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
        self._buffer: deque[tuple[int, Samples]] = deque()  # (index of first frame, frames)
        self._position = 0
        self._error: Exception | None = None

    def close(self) -> None:
        """Close the file; a later `open_stream` opens it again."""
        # The clips so far have been checked; a change of the file since then is not their error.
        with contextlib.suppress(ClipError):
            self._stack.close()
        self._open_stream, self._error, self._position = None, None, 0
        self._buffer.clear()

    @contextlib.contextmanager
    def open_stream(self, limits: Limits) -> Iterator[OpenStream]:
        """Open the stream for one clip, and check the file afterwards.

        The stream can seek. Frames that earlier clips decoded are taken from the buffer, if it
        still holds them.

        Args:
            limits: Limits of the file's size and of the decoder's memory.

        Raises:
            ClipError: The file cannot be opened, or has changed.
            CannotDecodeError: No decoder can decode the file.
        """
        source = self._ensure_open(limits)
        stream = source.stream
        try:
            yield (
                source
                if stream.seek
                else source._replace(stream=self._make_seekable(stream, limits))
            )
        except Exception:
            self._check_file()  # a change of the file may be the cause
            raise
        else:
            self._check_file()
        finally:
            if stream.seek:
                self.close()  # a seekable stream can seek only before its first piece

    def _ensure_open(self, limits: Limits) -> OpenStream:
        """Return the open stream of the file; open the file if it is closed."""
        if self._open_stream is None:
            self._open_stream = self._stack.enter_context(
                open_stream(self._open_and_keep_file, limits)
            )
        return self._open_stream

    @contextlib.contextmanager
    def _open_and_keep_file(self, max_bytes: int) -> Iterator[BinaryIO]:
        """Open the file, and keep it for `_check_file`."""
        with self._open_file(max_bytes) as file:
            self._file = file
            yield file

    def _check_file(self) -> None:
        assert self._file
        self._check(self._file)

    def _make_seekable(self, stream: AudioStream, limits: Limits) -> AudioStream:
        """Return a view of the stream that can seek, by decoding from the buffer or from the start.

        Without a seek it starts at frame 0.
        """
        start: int | None = None

        def seek(frame: int) -> int:
            nonlocal start
            start = self._seek(frame, limits)
            return start

        def pieces() -> Iterator[Samples]:
            yield from self._frames_from(seek(0) if start is None else start)

        return dataclasses.replace(stream, pieces=pieces(), seek=seek)

    def _seek(self, frame: int, limits: Limits) -> int:
        """Prepare to read from a frame or before it; return the first frame to read.

        If the buffer does not reach back to the frame, the file is opened again.
        """
        if starts := [start for start, _ in self._buffer if start <= frame]:
            return starts[-1]
        if self._position:
            self.close()
            self._ensure_open(limits)
        return 0

    def _frames_from(self, start: int) -> Iterator[Samples]:
        """Yield the buffered frames from a frame on, and then newly decoded frames."""
        yield from [frames for first, frames in self._buffer if first >= start]
        while (frames := self._next_frames()) is not None:
            yield frames

    def _next_frames(self) -> Samples | None:
        """Decode and buffer the next piece; return None at the end.

        An error of the decoder is raised again by each later call.
        """
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

"""A filter that drops the messages of decoder libraries from a command's output.

For each damaged frame, libmpg123 writes a line to standard error and libsndfile to standard output,
where a program may be reading JSON. A clip that fails has a row in `errors`, so these lines add
nothing. On Ray, clips are decoded in other processes, whose output is not shown.
"""

import contextlib
import ctypes
import os
import re
import sys
import threading
from collections.abc import Iterator
from typing import IO

from rich.console import Console
from rich.text import Text

_MESSAGE = re.compile(
    rb"\s*(Note: |Warning: |\[src/lib\w+/|\[\w+ @ 0x[0-9a-f]+\]|\w+ \d+ : |Ooops )"
)
"""Lines of libmpg123, FFmpeg and libsndfile; all other lines are forwarded."""
_DRAIN_S = 1.0
"""Time to wait at the end for lines that are still in the pipe, in seconds."""


@contextlib.contextmanager
def hide_decoder_messages(console: Console) -> Iterator[None]:
    """Drop messages of decoder libraries from standard output and error within the block.

    Args:
        console: Console on standard error. It prints all other lines written to either stream.
    """
    reader, writer = os.pipe()
    own_out, own = _replace(1, sys.stdout, writer), _replace(2, sys.stderr, writer)
    os.close(writer)
    before = console.file, sys.stderr, sys.stdout
    if _is_on(console.file, 2):
        console.file = sys.stderr = own
    if _is_on(sys.stdout, 1):
        sys.stdout = own_out
    forwarding = threading.Thread(target=_forward, args=(reader, console), daemon=True)
    forwarding.start()
    try:
        yield
    finally:
        own_out.flush()
        ctypes.CDLL(None).fflush(None)  # the C library buffers output to a file or a pipe
        os.dup2(own_out.fileno(), 1)
        os.dup2(own.fileno(), 2)
        forwarding.join(_DRAIN_S)  # a child process that holds the pipe would keep it open
        console.file, sys.stderr, sys.stdout = before
        own_out.close()
        own.close()


def _replace(number: int, stream: IO[str], file: int) -> IO[str]:
    """Redirect standard output or error to a file, and return a stream to the old target."""
    stream.flush()
    own = os.fdopen(os.dup(number), "w", buffering=1, errors="backslashreplace")
    os.dup2(file, number)
    return own


def _is_on(stream: IO[str], number: int) -> bool:
    # `sys.stdout` and the console's file may have been replaced, by a test for instance.
    try:
        return stream.fileno() == number
    except (OSError, ValueError):
        return False


def _forward(reader: int, console: Console) -> None:
    with os.fdopen(reader, "rb") as lines, contextlib.suppress(ValueError):
        for line in lines:
            if not _MESSAGE.match(line):
                console.print(Text(line.decode(errors="backslashreplace").rstrip("\n")))

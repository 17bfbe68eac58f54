"""Notes of the decoders' libraries, which stay out of the terminal and of what a command prints.

libmpg123 writes to the standard error of the process what it thinks of each damaged frame, and
libsndfile to its standard output, where a program may be reading JSON. A clip that fails says so in
its row of `errors`, so these lines tell nobody anything. On Ray the decoders are other processes,
whose output is not shown.
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

_NOTE = re.compile(rb"\s*(Note: |Warning: |\[src/lib\w+/|\[\w+ @ 0x[0-9a-f]+\]|\w+ \d+ : |Ooops )")
"""Lines of libmpg123, FFmpeg and libsndfile; whatever else is written is passed on."""
_DRAIN_S = 1.0


@contextlib.contextmanager
def hide_decoder_messages(console: Console) -> Iterator[None]:
    """Drop within the block what libraries of decoders write to standard output and error.

    Args:
        console: Console on standard error; it shows the other lines that are written to either.
    """
    reader, writer = os.pipe()
    own_out, own = _replace(1, sys.stdout, writer), _replace(2, sys.stderr, writer)
    os.close(writer)
    before = console.file, sys.stderr, sys.stdout
    if _is_on(console.file, 2):
        console.file = sys.stderr = own
    if _is_on(sys.stdout, 1):
        sys.stdout = own_out
    passing_on = threading.Thread(target=_pass_on, args=(reader, console), daemon=True)
    passing_on.start()
    try:
        yield
    finally:
        own_out.flush()
        ctypes.CDLL(None).fflush(None)  # C holds back what is printed to a file or a pipe
        os.dup2(own_out.fileno(), 1)
        os.dup2(own.fileno(), 2)
        passing_on.join(_DRAIN_S)  # its pipe has ended, unless a child of this process has it
        console.file, sys.stderr, sys.stdout = before
        own_out.close()
        own.close()


def _replace(number: int, stream: IO[str], file: int) -> IO[str]:
    """Put a file in the place of standard output or error; return what was there before."""
    stream.flush()
    own = os.fdopen(os.dup(number), "w", buffering=1, errors="backslashreplace")
    os.dup2(file, number)
    return own


def _is_on(stream: IO[str], number: int) -> bool:
    # A caller of this process may have put another stream in its place.
    try:
        return stream.fileno() == number
    except (OSError, ValueError):
        return False


def _pass_on(reader: int, console: Console) -> None:
    with os.fdopen(reader, "rb") as lines, contextlib.suppress(ValueError):
        for line in lines:
            if not _NOTE.match(line):
                console.print(Text(line.decode(errors="backslashreplace").rstrip("\n")))

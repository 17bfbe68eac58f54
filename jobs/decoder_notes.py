"""Notes of the decoders' libraries, which stay out of the terminal.

libmpg123 writes to the standard error of the process what it thinks of each damaged frame. A clip
that fails says so in its row of `errors`, so these lines tell nobody anything. On Ray the decoders
are other processes, whose output is not shown.
"""

import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator
from typing import IO

from rich.console import Console
from rich.text import Text

_NOTE = re.compile(rb"\s*(Note: |Warning: |\[src/lib\w+/|\[\w+ @ 0x[0-9a-f]+\])")
"""Lines of libmpg123 and of FFmpeg; whatever else is written is passed on."""
_DRAIN_S = 1.0


@contextlib.contextmanager
def decoder_notes_hidden(console: Console) -> Iterator[None]:
    """Drop within the block what libraries of decoders write to standard error.

    Args:
        console: Console on standard error; it shows the other lines that are written there.
    """
    sys.stderr.flush()
    reader, writer = os.pipe()
    own = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    os.dup2(writer, 2)
    os.close(writer)
    before = console.file, sys.stderr
    if _is_standard_error(console.file):
        console.file = sys.stderr = own
    passing_on = threading.Thread(target=_pass_on, args=(reader, console), daemon=True)
    passing_on.start()
    try:
        yield
    finally:
        os.dup2(own.fileno(), 2)
        passing_on.join(_DRAIN_S)  # its pipe has ended, unless a child of this process has it
        console.file, sys.stderr = before
        own.close()


def _is_standard_error(stream: IO[str]) -> bool:
    # A caller of this process may have put another stream in its place.
    try:
        return stream.fileno() == 2
    except (OSError, ValueError):
        return False


def _pass_on(reader: int, console: Console) -> None:
    with os.fdopen(reader, "rb") as lines, contextlib.suppress(ValueError):
        for line in lines:
            if not _NOTE.match(line):
                console.print(Text(line.decode(errors="backslashreplace").rstrip("\n")))

"""Redaction of this process's command line, which `ps` shows to every user of the machine.

The module imports only the standard library and `pipeline.io.redaction`, because credentials must
be hidden before the imports of a run, which take seconds.
"""

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.io.redaction import redact

_SECRET_OPTIONS = ("--storage-options", "--env")
"""Options with values NAME=VALUE in which VALUE may be a credential."""
_PROCESS = Path("/proc/self")
_ARG_START, _ARG_END = 45, 46
"""Indices of the fields `arg_start` and `arg_end` of `/proc/self/stat`, after the program name."""


def hide_credentials() -> None:
    """Overwrite the credentials in this process's command line; `sys.argv` keeps them."""
    _overwrite(_redact_arguments(sys.orig_argv))


def redact_command_line(redact: Callable[[str], str]) -> bool:
    """Overwrite further credentials in this process's command line.

    Args:
        redact: Function that returns an argument without its credentials.

    Returns:
        Whether the command line now shows no credentials.
    """
    return _overwrite([redact(each) for each in _redact_arguments(sys.orig_argv)])


def _redact_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with secret option values and credentials in URIs redacted."""
    shown = []
    is_value = False
    for each in arguments:
        option, equals, value = each.partition("=")
        if is_value or (equals and option in _SECRET_OPTIONS):
            kept, pair = ("", each) if is_value else (f"{option}=", value)
            name, has_value, _ = pair.partition("=")
            # A value without `=` is a mistake, but may be the credential itself.
            shown.append(f"{kept}{name}=***" if has_value else f"{kept}***")
        else:
            shown.append(redact(each, {}))
        is_value = each in _SECRET_OPTIONS and not is_value
    return shown


def _overwrite(shown: Sequence[str]) -> bool:
    """Overwrite the command line in memory, each argument padded with stars to its old length.

    Returns:
        Whether the command line now shows these arguments.
    """
    before = [argument.encode(errors="surrogateescape") for argument in sys.orig_argv]
    after = [argument.encode(errors="surrogateescape") for argument in shown]
    if after == before:
        return True
    with contextlib.suppress(OSError, ValueError):  # not every system permits it
        fields = (_PROCESS / "stat").read_bytes().rpartition(b")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
        with (_PROCESS / "mem").open("r+b", buffering=0) as memory:
            memory.seek(start)
            old = memory.read(end - start).removesuffix(b"\0").split(b"\0")
            lengths = [len(each) for each in old]
            if lengths != [len(each) for each in before]:
                return False  # another library has set a title
            fitted = [
                new[:length].ljust(length, b"*") for new, length in zip(after, lengths, strict=True)
            ]
            memory.seek(start)
            memory.write(b"\0".join(fitted))
            return True
    return False

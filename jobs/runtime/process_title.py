"""The command line of this process, as `ps` shows it to every user of the machine.

Imports nothing but the standard library and `pipeline.io.redaction`: credentials are to be hidden
before the imports of a run, which take seconds.
"""

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.io.redaction import redact

_SECRET_OPTIONS = ("--storage-options", "--env")
"""Options whose values are NAME=VALUE, where the value may be a credential."""
_PROCESS = Path("/proc/self")
_ARG_START, _ARG_END = 45, 46
"""Indices of both fields in `/proc/self/stat`, after the name of the program."""


def hide_credentials() -> None:
    """Overwrite the credentials in this process's command line; its arguments stay as they are."""
    _overwrite(_shown(sys.orig_argv))


def hide_more(redact: Callable[[str], str]) -> bool:
    """Overwrite what a function that knows more credentials replaces in the arguments.

    Args:
        redact: Function that returns an argument without its credentials.

    Returns:
        Whether the command line shows none of them.
    """
    return _overwrite([redact(each) for each in _shown(sys.orig_argv)])


def _shown(arguments: Sequence[str]) -> list[str]:
    """Return the arguments without values of secret options and without credentials in URIs."""
    shown = []
    is_value = False
    for each in arguments:
        option, equals, value = each.partition("=")
        if is_value or (equals and option in _SECRET_OPTIONS):
            kept, pair = ("", each) if is_value else (f"{option}=", value)
            name, has_value, _ = pair.partition("=")
            # A pair without `=` may be a credential that is given in a wrong way.
            shown.append(f"{kept}{name}=***" if has_value else f"{kept}***")
        else:
            shown.append(redact(each, {}))
        is_value = each in _SECRET_OPTIONS and not is_value
    return shown


def _overwrite(shown: Sequence[str]) -> bool:
    """Overwrite the arguments in place, each padded with stars to its old length.

    Returns:
        Whether that was possible, or not necessary.
    """
    before = [argument.encode(errors="surrogateescape") for argument in sys.orig_argv]
    after = [argument.encode(errors="surrogateescape") for argument in shown]
    if after == before:
        return True
    with contextlib.suppress(OSError, ValueError):  # of a system that does not let us
        fields = (_PROCESS / "stat").read_bytes().rpartition(b")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
        with (_PROCESS / "mem").open("r+b", buffering=0) as memory:
            memory.seek(start)
            old = memory.read(end - start).removesuffix(b"\0").split(b"\0")
            lengths = [len(each) for each in old]
            if lengths != [len(each) for each in before]:
                return False  # a title that somebody else has set
            fitted = [
                new[:length].ljust(length, b"*") for new, length in zip(after, lengths, strict=True)
            ]
            memory.seek(start)
            memory.write(b"\0".join(fitted))
            return True
    return False

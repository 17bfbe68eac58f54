"""What a run says while it runs: lines for people, or one JSON object a line for programs.

Both are made of the same events. As JSON, whatever else this process prints (warnings, notes of C
libraries, Ray's news of dead workers) becomes events as well, so that every line can be parsed.
What a process says in the moment in which it crashes may be lost then.
"""

import contextlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from rich.console import Console

from jobs.runtime.stop_signals import Stopped
from jobs.runtime.terminal import print_line
from models.errors import ModelError
from pipeline.errors import PipelineError, UsageError
from pipeline.io.storage import DEFAULT_STORAGE, Storage

EXIT_OK = 0
EXIT_CRASHED = 1
EXIT_USAGE = 2
EXIT_FAILED = 3
EXIT_TOO_MANY_ERRORS = 4
EXIT_STOPPED = 130
_DRAIN_S = 2.0

Level = Literal["info", "warning", "error"]


@dataclass
class RunLog:
    """Takes the events of a run.

    Attributes:
        console: where they go.
        as_json: as JSON, else the messages alone.
        storage: knows the credentials that must not be shown.
    """

    console: Console
    as_json: bool = False
    storage: Storage = DEFAULT_STORAGE
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def has_bar(self) -> bool:
        """Whether progress is shown as a bar; a dumb terminal gets lines."""
        is_clever = self.console.is_terminal and not self.console.is_dumb_terminal
        return is_clever and not self.as_json

    def report(self, event: str, message: str, level: Level = "info", **fields: Any) -> None:
        """Something that people are told as well.

        Args:
            event: what has happened, a name in snake_case that stays what it is.
            message: the line for people.
            level: how bad it is.
            fields: for programs, JSON values with their unit in the name; None is left out.
        """
        if self.as_json:
            self.detail(event, message, level, **fields)
        else:
            print_line(self.console, self.storage.redact(message), 2)

    def detail(self, event: str, message: str, level: Level = "info", **fields: Any) -> None:
        """Something that only programs are told; as `tell`."""
        if not self.as_json:
            return
        told = {"time": _now(), "level": level, "event": event, "message": message, **fields}
        # ASCII, as a path need not be text; `redact` may be slow, and is not for numbers.
        line = json.dumps({k: self._redacted(v) for k, v in told.items() if v is not None})
        with self._lock:
            self.console.file.write(line + "\n")
            self.console.file.flush()

    def _redacted(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.storage.redact(value)
        if isinstance(value, Mapping):
            return {name: self._redacted(each) for name, each in value.items()}
        return [self._redacted(each) for each in value] if isinstance(value, list) else value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def exit_code(error: BaseException) -> int:
    """Of a run that an error ended."""
    if isinstance(error, UsageError | ModelError):
        return EXIT_USAGE
    if isinstance(error, Stopped):
        return EXIT_STOPPED
    return EXIT_FAILED if isinstance(error, PipelineError) else EXIT_CRASHED


@contextlib.contextmanager
def json_log() -> Iterator[RunLog]:
    """A log in JSON on standard error, with all that is printed within the block.

    An error that leaves the block is told as the end of the run.

    Raises:
        SystemExit: in place of that error, with its exit code.
    """
    with contextlib.ExitStack() as stack:
        own = [stack.enter_context(os.fdopen(os.dup(number), "w")) for number in (1, 2)]
        log = RunLog(Console(file=own[1], force_terminal=False), as_json=True)
        reader, writer = os.pipe()
        _print_to(writer, writer)
        os.close(writer)
        # A thread that lives as long as the pipe does, which children of this process may keep.
        forwarding = threading.Thread(target=_forward, args=(reader, log), daemon=True)
        forwarding.start()
        try:
            yield log
        except (Exception, Stopped) as error:
            sys.exit(_tell_end(log, error))
        finally:
            _print_to(*(file.fileno() for file in own))
            forwarding.join(_DRAIN_S)


def _print_to(out: int, err: int) -> None:
    """Have standard output and standard error be these files from now on."""
    for number, stream, file in ((1, sys.stdout, out), (2, sys.stderr, err)):
        stream.flush()
        os.dup2(file, number)


def _tell_end(log: RunLog, error: BaseException) -> int:
    """That an error has ended the run; the exit code."""
    code = exit_code(error)
    is_ours = isinstance(error, PipelineError | ModelError | Stopped)
    log.detail(
        "run_ended",
        str(error) or "stopped" if is_ours else f"{type(error).__name__}: {error}",
        "warning" if code == EXIT_STOPPED else "error",
        outcome={EXIT_STOPPED: "stopped", EXIT_USAGE: "usage"}.get(code, "error"),
        exit_code=code,
        error_class=type(error).__name__,
        traceback=None if is_ours else traceback.format_exc(),
    )
    return code


def _forward(reader: int, log: RunLog) -> None:
    """What others print, as events."""
    with os.fdopen(reader, errors="backslashreplace") as lines, contextlib.suppress(ValueError):
        for line in lines:
            if text := line.strip():
                log.detail("other_output", text, "warning")

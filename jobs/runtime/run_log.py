"""The log of a run: lines of text for people, or JSON with one event per line for programs.

Both come from the same events. In JSON mode, all other output of the process (warnings, messages of
C libraries, Ray's reports of dead workers) also becomes events, so that every line can be parsed.
Output that is written while the process crashes may be lost in this mode.
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
"""Time to wait at the end for output that is still in the pipe, in seconds."""

Level = Literal["info", "warning", "error"]


@dataclass
class RunLog:
    """The log of a run.

    Attributes:
        console: Console that the log is written to.
        as_json: Whether to write events as JSON; otherwise only their messages are written.
        storage: Storage options with the credentials to redact.
    """

    console: Console
    as_json: bool = False
    storage: Storage = DEFAULT_STORAGE
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def has_bar(self) -> bool:
        """Whether progress is shown as a bar; a dumb terminal gets lines."""
        can_redraw = self.console.is_terminal and not self.console.is_dumb_terminal
        return can_redraw and not self.as_json

    def report(self, event: str, message: str, level: Level = "info", **fields: Any) -> None:
        """Write an event to the log, in text mode too.

        Args:
            event: Stable name of the event, in snake_case.
            message: Line of text for people.
            level: Severity of the event.
            fields: JSON values for programs, with units in their names; None values are left out.
        """
        if self.as_json:
            self.detail(event, message, level, **fields)
        else:
            print_line(self.console, self.storage.redact(message), 2)

    def detail(self, event: str, message: str, level: Level = "info", **fields: Any) -> None:
        """Write an event to the log in JSON mode only.

        Args:
            event: Stable name of the event, in snake_case.
            message: Line of text for people.
            level: Severity of the event.
            fields: JSON values for programs, with units in their names; None values are left out.
        """
        if not self.as_json:
            return
        record = {"time": _now(), "level": level, "event": event, "message": message, **fields}
        # The line is ASCII, because a path may contain bytes that are not valid text.
        line = json.dumps({k: self._redact(v) for k, v in record.items() if v is not None})
        with self._lock:
            self.console.file.write(line + "\n")
            self.console.file.flush()

    def _redact(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.storage.redact(value)
        if isinstance(value, Mapping):
            return {name: self._redact(each) for name, each in value.items()}
        return [self._redact(each) for each in value] if isinstance(value, list) else value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def exit_code(error: BaseException) -> int:
    """Return the exit code of a run that ended with an error."""
    if isinstance(error, UsageError | ModelError):
        return EXIT_USAGE
    if isinstance(error, Stopped):
        return EXIT_STOPPED
    return EXIT_FAILED if isinstance(error, PipelineError) else EXIT_CRASHED


@contextlib.contextmanager
def json_log() -> Iterator[RunLog]:
    """Open a JSON log on standard error that also captures all other output within the block.

    An error that leaves the block is logged as the end of the run.

    Yields:
        The log.

    Raises:
        SystemExit: An error left the block; the exit code is the error's.
    """
    with contextlib.ExitStack() as stack:
        own = [stack.enter_context(os.fdopen(os.dup(number), "w")) for number in (1, 2)]
        log = RunLog(Console(file=own[1], force_terminal=False), as_json=True)
        reader, writer = os.pipe()
        _redirect_output(writer, writer)
        os.close(writer)
        # A daemon, because a child process that inherited the pipe would keep the thread alive.
        forwarding = threading.Thread(target=_forward, args=(reader, log), daemon=True)
        forwarding.start()
        try:
            yield log
        except (Exception, Stopped) as error:
            sys.exit(_report_end(log, error))
        finally:
            _redirect_output(*(file.fileno() for file in own))
            forwarding.join(_DRAIN_S)


def _redirect_output(out: int, err: int) -> None:
    """Redirect standard output and standard error to two file descriptors."""
    for number, stream, file in ((1, sys.stdout, out), (2, sys.stderr, err)):
        stream.flush()
        os.dup2(file, number)


def _report_end(log: RunLog, error: BaseException) -> int:
    """Log that an error ended the run, and return the exit code."""
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
    """Log each line of a pipe as an `other_output` event."""
    with os.fdopen(reader, errors="backslashreplace") as lines, contextlib.suppress(ValueError):
        for line in lines:
            if text := line.strip():
                log.detail("other_output", text, "warning")

"""Handling of SIGINT (Ctrl-C) and SIGTERM at any moment of a run.

While a run starts up, or embeds in this process, a signal raises `Stopped` at once. This is safe
because rows count only once their commit record exists. While shards are in flight on Ray, the
signal is only recorded, so that shards that are nearly finished can still be committed.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_S = 5.0
"""Time in seconds that shards in flight have to commit after a signal to stop."""


def grace_s() -> float:
    """Return the time in seconds that shards in flight have to commit after a signal to stop.

    `ray job stop` kills the process some time after its SIGTERM. A killed run cannot report how it
    ended, and leaves a lease that the next run must wait for. So in a Ray job only a third of that
    time is for commits, and the rest is for the end of the run.
    """
    return min(GRACE_S, stop_wait_s() / 3) if is_ray_job() else GRACE_S


class Stopped(KeyboardInterrupt):
    """Error raised in a run that received a signal to stop."""


class StopRequest:
    """The state of a request to stop the run, set by signals.

    Attributes:
        requested: Whether a signal to stop has arrived.
        at_once: Whether shards in flight may no longer commit, because another run has the table.
    """

    def __init__(self) -> None:
        self.requested = False
        self.at_once = False
        self._is_deferred = False

    def install(self) -> None:
        """Install the signal handlers; call again after a library has replaced them."""
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def signal(self) -> None:
        """Stop the run from any of its threads, as if SIGTERM had arrived."""
        os.kill(os.getpid(), signal.SIGTERM)

    def stop_without_grace(self) -> None:
        """Stop the run from any of its threads, without time for shards in flight to commit."""
        self.at_once = True
        self.signal()

    @contextlib.contextmanager
    def defer(self) -> Iterator[None]:
        """Record the first signal within the block instead of raising; a second signal raises.

        Raises:
            Stopped: A signal has arrived before the block.
        """
        if self.requested:
            raise Stopped
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        is_first, self.requested = not self.requested, True
        if not (is_first and self._is_deferred):
            raise Stopped


@contextlib.contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Open a `StopRequest` that handles the signals within the block."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    stop = StopRequest()
    stop.install()
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


STOP_WAIT_VARIABLE = "RAY_JOB_STOP_WAIT_TIME_S"
"""Variable in a job's environment from which Ray reads the seconds from SIGTERM to SIGKILL."""
_JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
_DEFAULT_STOP_WAIT_S = 3.0


def is_ray_job() -> bool:
    """Return whether Ray Jobs started this process."""
    return _JOB_VARIABLE in os.environ


def stop_wait_s() -> float:
    """Return the time in seconds from a Ray job's SIGTERM to its SIGKILL."""
    return float(os.environ.get(STOP_WAIT_VARIABLE, _DEFAULT_STOP_WAIT_S))

"""Being told to stop: SIGINT (Ctrl-C) and SIGTERM, at any moment of a run.

While a run starts up, or embeds in this process, a signal raises `Stopped` where it strikes:
nothing half-done counts, as only commit records make rows count. While shards are out on Ray the
signal is noted instead, so that what is nearly finished can still be committed.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_S = 5.0


def grace_s() -> float:
    """How long shards under way may take to commit, once the run has been told to stop.

    `ray job stop` kills a while after its SIGTERM. A run that is killed tells nobody how it ended,
    and leaves a lease that the next one has to wait for: so that also takes its part of the while.
    """
    return min(GRACE_S, stop_wait_s() / 3) if is_ray_job() else GRACE_S


class Stopped(KeyboardInterrupt):
    """The run was told to stop."""


class StopRequest:
    """Whether a signal to stop has come.

    Attributes:
        requested: one has.
        at_once: Nothing in flight may be committed any more: another run has the table.
    """

    def __init__(self) -> None:
        self.requested = False
        self.at_once = False
        self._is_deferred = False

    def install(self) -> None:
        """Take over the signals; again after a library has taken them for itself."""
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def signal(self) -> None:
        """Stop the run from any of its threads, as if SIGTERM had come."""
        os.kill(os.getpid(), signal.SIGTERM)

    def table_lost(self) -> None:
        """Stop the run from any of its threads, without time for what is in flight."""
        self.at_once = True
        self.signal()

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Within the block a first signal is noted, not raised; a second one raises all the same.

        Raises:
            Stopped: on entry, where one has come already.
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
    """A `StopRequest` that holds the signals within the block."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    stop = StopRequest()
    stop.install()
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


STOP_WAIT_VARIABLE = "RAY_JOB_STOP_WAIT_TIME_S"
"""Seconds from a stopped job's SIGTERM to its SIGKILL; Ray reads it in the job's environment."""
_JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
_RAYS_STOP_WAIT_S = 3.0


def is_ray_job() -> bool:
    """Whether Ray Jobs has started this process."""
    return _JOB_VARIABLE in os.environ


def stop_wait_s() -> float:
    """How long after a job's SIGTERM Ray kills it."""
    return float(os.environ.get(STOP_WAIT_VARIABLE, _RAYS_STOP_WAIT_S))

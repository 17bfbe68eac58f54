"""The log of a submitted job, followed until the job ends, and the job's exit code.

The log is streamed through a WebSocket. If the WebSocket breaks, or a proxy blocks it, the whole
log is requested and a new WebSocket is tried. This repeats until the job has ended or the cluster
has not answered for `LOST_S`.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

from ray.job_submission import JobDetails, JobStatus

from jobs.runtime.run_log import EXIT_FAILED, EXIT_STOPPED
from jobs.submit.job_client import ClusterLostError, JobClient

POLL_S = 2.0
"""Time between two requests for the status of a job, in seconds."""
SILENCE_S = 60.0
"""Time without output after which the job is checked, as the connection may be dead; seconds."""
LOST_S = 300.0
"""Time without an answer after which the cluster is given up, in seconds."""
_MAX_REASON_CHARS = 500

T = TypeVar("T")


def job_exit_code(job: JobDetails) -> int:
    """Return the exit code of a job that has ended: its driver's, 130 if it was stopped, else 3."""
    if job.status == JobStatus.SUCCEEDED:
        return 0
    if job.status == JobStatus.STOPPED:
        return EXIT_STOPPED
    code = job.driver_exit_code
    return code if code and code > 0 else EXIT_FAILED  # a code below 0 is that of a signal


def end_text(job: JobDetails) -> str:
    """Return one line on how a job has ended."""
    if job.status == JobStatus.SUCCEEDED:
        return "succeeded"
    if job.status == JobStatus.STOPPED:
        return "was stopped; committed shards stay. The same submit continues from there"
    code = job.driver_exit_code
    if code and code > 0:
        return f"ended with exit code {code}"
    # If there was a driver, the message ends with lines of its log, which have been printed.
    reason = " ".join((job.message or "").partition(", last available logs")[0].split())
    return f"failed: {reason[:_MAX_REASON_CHARS]}; the same submit continues from what is committed"


def follow_log(
    client: JobClient, job: str, show: Callable[[str], None], note: Callable[[str], None]
) -> JobDetails:
    """Follow the log of a job until the job has ended.

    Args:
        client: Client of the cluster.
        job: Name of the job.
        show: Function that is called with each piece of the log.
        note: Function that is called with lines about the connection.

    Returns:
        The details of the ended job.

    Raises:
        UsageError: There is no such job.
        ClusterLostError: The cluster has not answered for `LOST_S`.
        KeyboardInterrupt: The user pressed Ctrl-C; the job continues.
    """
    return asyncio.run(_LogFollower(client, job, show, note).follow_to_end())


class _LogFollower:
    """Connection to the log of one job, and the number of characters that were shown."""

    def __init__(
        self,
        client: JobClient,
        job: str,
        show: Callable[[str], None],
        note: Callable[[str], None],
    ) -> None:
        self._client = client
        self._job = job
        self._show = show
        self._note = note
        self._n_shown_chars = 0
        self._is_broken = False  # whether the last WebSocket broke

    async def follow_to_end(self) -> JobDetails:
        """Show the log until the job has ended, and return its details."""
        await self._retry(self._client.details)  # raises an error if there is no such job
        while True:
            await self._tail()
            details = await self._retry(self._client.details)
            has_ended = details.status.is_terminal()
            if has_ended or self._is_broken:
                # The log is lost with its node, but the cluster still knows how the job ended.
                with contextlib.suppress(ClusterLostError):
                    self._show_new(await asyncio.to_thread(self._client.logs, self._job), 0)
            if has_ended:
                return details
            await asyncio.sleep(POLL_S)

    async def _tail(self) -> None:
        """Show the log until it ends, is silent for `SILENCE_S`, or the connection breaks."""
        offset = 0
        async with contextlib.aclosing(self._client.tail(self._job)) as log:
            try:
                while True:
                    async with asyncio.timeout(SILENCE_S):
                        text = await anext(log)
                    self._show_new(text, offset)
                    offset += len(text)
                    self._is_broken = False
            except (StopAsyncIteration, TimeoutError):
                pass
            except ClusterLostError as error:
                if not self._is_broken:
                    self._note(f"the log's connection broke ({error}); requesting the log instead")
                self._is_broken = True

    def _show_new(self, text: str, offset: int) -> None:
        """Show the part of a piece of the log that has not been shown before.

        Args:
            text: Piece of the log.
            offset: Position of the piece in the log, in characters.
        """
        if new := text[max(0, self._n_shown_chars - offset) :]:
            self._show(new)
            self._n_shown_chars = offset + len(text)

    async def _retry(self, request: Callable[[str], T]) -> T:
        """Call a request with the job, retrying while the cluster does not answer."""
        deadline = None
        while True:
            try:
                return await asyncio.to_thread(request, self._job)
            except ClusterLostError as error:
                now_s = time.monotonic()
                if deadline is None:
                    self._note(f"{self._client.address} does not answer ({error}); retrying")
                    deadline = now_s + LOST_S
                if now_s > deadline:
                    raise ClusterLostError(
                        f"{self._client.address} has not answered for {LOST_S:g} s ({error}); "
                        "the job may continue to run"
                    ) from error
            await asyncio.sleep(POLL_S)

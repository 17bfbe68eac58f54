"""A submitted job's log as it comes, to the job's end and its exit code.

The log comes through a WebSocket. Where that breaks, or a proxy lets none through, the log is asked
for and a new one is tried, until the job has ended or the cluster has not answered for `LOST_S`.
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
SILENCE_S = 60.0
"""A log that says nothing for so long may be one whose connection is dead: the job is looked at."""
LOST_S = 300.0
_MOST_SHOWN = 500  # characters of a reason

T = TypeVar("T")


def job_exit_code(job: JobDetails) -> int:
    """The exit code of a job that has ended: its driver's own, 130 where it was stopped, else 3."""
    if job.status == JobStatus.SUCCEEDED:
        return 0
    if job.status == JobStatus.STOPPED:
        return EXIT_STOPPED
    code = job.driver_exit_code
    return code if code and code > 0 else EXIT_FAILED  # below 0: a signal has killed it


def end_text(job: JobDetails) -> str:
    """How a job that has ended did, in a line."""
    if job.status == JobStatus.SUCCEEDED:
        return "succeeded"
    if job.status == JobStatus.STOPPED:
        return "was stopped; what is committed stays. The same submit goes on from there"
    code = job.driver_exit_code
    if code and code > 0:
        return f"ended with exit code {code}"
    # Where there was a driver, the last lines of its log follow, which have been shown.
    reason = " ".join((job.message or "").partition(", last available logs")[0].split())
    return f"failed: {reason[:_MOST_SHOWN]}; the same submit goes on from what is committed"


def follow_log(
    client: JobClient, job: str, show: Callable[[str], None], note: Callable[[str], None]
) -> JobDetails:
    """Show a job's log until the job has ended.

    Args:
        client: has it.
        job: its name.
        show: takes the log, piece by piece.
        note: takes lines on what happens to the connection.

    Returns:
        What the cluster knows of the job then.

    Raises:
        UsageError: no such job.
        ClusterLostError: the cluster has not answered for `LOST_S`.
        KeyboardInterrupt: Ctrl-C; the job goes on.
    """
    return asyncio.run(_Follower(client, job, show, note).to_the_end())


class _Follower:
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
        self._n_shown = 0  # characters of the log
        self._is_broken = False

    async def to_the_end(self) -> JobDetails:
        await self._asked(self._client.details)
        while True:
            await self._tail()
            details = await self._asked(self._client.details)
            has_ended = details.status.is_terminal()
            if has_ended or self._is_broken:
                # A node that is lost takes its log with it; how the job ended is known even so.
                with contextlib.suppress(ClusterLostError):
                    self._show_rest(await asyncio.to_thread(self._client.logs, self._job), 0)
            if has_ended:
                return details
            await asyncio.sleep(POLL_S)

    async def _tail(self) -> None:
        """Until the log ends, says nothing for long, or the connection breaks."""
        begin = 0
        async with contextlib.aclosing(self._client.tail(self._job)) as log:
            try:
                while True:
                    async with asyncio.timeout(SILENCE_S):
                        text = await anext(log)
                    self._show_rest(text, begin)
                    begin += len(text)
                    self._is_broken = False
            except (StopAsyncIteration, TimeoutError):
                pass
            except ClusterLostError as error:
                if not self._is_broken:
                    self._note(f"the log's connection broke ({error}); asking for it instead")
                self._is_broken = True

    def _show_rest(self, text: str, begin: int) -> None:
        """Show what has not been shown of a piece of the log that begins at some character."""
        if rest := text[max(0, self._n_shown - begin) :]:
            self._show(rest)
            self._n_shown = begin + len(text)

    async def _asked(self, ask: Callable[[str], T]) -> T:
        """An answer, however long it takes to reach the cluster again."""
        deadline = None
        while True:
            try:
                return await asyncio.to_thread(ask, self._job)
            except ClusterLostError as error:
                now_s = time.monotonic()
                if deadline is None:
                    self._note(f"{self._client.address} does not answer ({error}); trying again")
                    deadline = now_s + LOST_S
                if now_s > deadline:
                    raise ClusterLostError(
                        f"{self._client.address} has not answered for {LOST_S:g} s ({error}); "
                        "the job may go on"
                    ) from error
            await asyncio.sleep(POLL_S)

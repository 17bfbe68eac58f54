"""Ray Jobs on some cluster: Ray's own client, with an answer in time and errors of one line."""

import logging
import os
import re
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeVar

import aiohttp
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobSubmissionClient

from jobs.submit.submission import Submission
from pipeline.errors import PipelineError, UsageError
from pipeline.io.redaction import redact
from pipeline.io.storage import first_line

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S = 10.0, 120.0
_HOW_TO_IDENTIFY = (
    "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with the cluster's token or "
    "RAY_AUTH_TOKEN to the token itself"
)
_TALKATIVE = ("ray", "ray.dashboard.modules.dashboard_sdk")  # of packages that they upload
_STATUS_CODE = re.compile(r"status code (\d+)")
_NOT_FOUND, _SERVER_ERROR = 404, 500

T = TypeVar("T")


class ClusterLostError(PipelineError):
    """A cluster that could be reached before cannot be now; what was asked may be done or not."""


class _NotUnderstoodError(UsageError):
    """What answers does not take what it was asked."""


class _TimedClient(JobSubmissionClient):
    """Ray's client waits for an answer for ever."""

    def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
        timeout_s = (CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S)
        return super()._do_request(method, endpoint, timeout=timeout_s, **options)


def dashboard_url(address: str | None) -> str:
    """Where a cluster's dashboard is: as given, or as Ray's variables say, or on this machine.

    Args:
        address: `http://HOST:8265`, or `HOST:8265`; None for none.

    Raises:
        UsageError: it is no such address.
    """
    if address is None:
        told = (os.environ.get(name, "") for name in ADDRESS_VARIABLES)
        # RAY_ADDRESS may as well be where drivers connect to, which is no dashboard's address.
        return next((url for url in told if url.startswith("http")), DEFAULT_ADDRESS).rstrip("/")
    url = address if "://" in address else f"http://{address}"
    if not re.fullmatch(r"https?://[^\s/]+\S*", url) or address in ("auto", "local"):
        raise UsageError(
            f"address {redact(address, {})!r}: must be the URL of a cluster's dashboard, as "
            "http://HOST:8265"
        )
    return url.rstrip("/")


class JobClient:
    """The jobs of one cluster.

    Args:
        address: as `dashboard_url` takes it.

    Attributes:
        address: for people.

    Raises:
        UsageError: nothing answers there, or it wants a token.
    """

    def __init__(self, address: str | None) -> None:
        url = dashboard_url(address)
        self.address = redact(url, {})
        # Ray's variable would win over the address that its client is given.
        os.environ[ADDRESS_VARIABLES[0]] = url
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            self._client = self._asked(lambda: _TimedClient(url))
        except (ClusterLostError, _NotUnderstoodError, KeyError) as error:
            reason = f"no answer of a Ray dashboard ({first_line(error)})"
            raise UsageError(
                f"address {self.address}: {reason}; give that of the head's dashboard, as "
                "--address http://HOST:8265"
            ) from error

    def submit(self, sent: Submission, job: str, num_cpus: float | None) -> None:
        """Submit a job.

        Args:
            sent: what it is.
            job: its name, new on this cluster.
            num_cpus: to be kept for its driver, which may then run on any node.

        Raises:
            UsageError: the cluster does not take it.
            ClusterLostError: it may have been submitted or not.
        """
        environment = {"working_dir": str(sent.folder), "env_vars": dict(sent.env)}
        try:
            self._asked(
                lambda: self._client.submit_job(
                    entrypoint=sent.entrypoint,
                    submission_id=job,
                    runtime_env=environment,
                    metadata=dict(sent.metadata),
                    entrypoint_num_cpus=num_cpus,
                )
            )
        except PipelineError as error:
            if "already exists" not in str(error.__cause__):
                raise
            raise UsageError(
                f"submission id {job!r}: {self.address} has a job of that name; choose another"
            ) from error

    def details(self, job: str) -> JobDetails:
        """What the cluster knows of a job.

        Raises:
            UsageError: there is none of that name.
            ClusterLostError: no answer.
        """
        return self._asked(lambda: self._client.get_job_info(job), job)

    def list_jobs(self) -> list[JobDetails]:
        """The jobs that were submitted, and drivers that were not."""
        return self._asked(self._client.list_jobs)

    def stop(self, job: str) -> bool:
        """Tell a job to stop; whether it was there to be told."""
        return self._asked(lambda: self._client.stop_job(job), job)

    def logs(self, job: str) -> str:
        """All that a job has printed."""
        return self._asked(lambda: self._client.get_job_logs(job), job)

    async def tail(self, job: str) -> AsyncGenerator[str, None]:
        """What a job has printed and what it prints, in pieces.

        Raises:
            ClusterLostError: the connection broke. It may also end as if the job had.
        """
        try:
            async for text in self._client.tail_job_logs(job):
                yield text
        except (OSError, RuntimeError, aiohttp.ClientError) as error:
            raise ClusterLostError(first_line(error)) from error

    def _asked(self, ask: Callable[[], T], job: str = "") -> T:
        try:
            return ask()
        except AuthenticationError as error:
            is_missing = "required" in error.message
            told = "asks for a token" if is_missing else "does not take this token"
            raise UsageError(f"address {self.address} {told}; {_HOW_TO_IDENTIFY}") from error
        except (OSError, ValueError) as error:  # those of requests are among them
            raise ClusterLostError(redact(first_line(error), {})) from error
        except RuntimeError as error:
            found = _STATUS_CODE.search(str(error))
            code = int(found[1]) if found else 0
            if code == _NOT_FOUND and job:
                raise UsageError(
                    f"job {job!r}: {self.address} has none of that name; `passtream job list "
                    f"--address {self.address}` tells those that it has"
                ) from error
            reason = redact(_reason(error), {})
            if code >= _SERVER_ERROR:
                raise ClusterLostError(reason) from error
            raise _NotUnderstoodError(f"address {self.address}: {reason}") from error


def _reason(error: RuntimeError) -> str:
    """What Ray says; of a traceback of its own the last line."""
    lines = str(error).strip().splitlines() or [""]
    return lines[-1] if "Traceback" in str(error) else lines[0]

"""Client of Ray Jobs on a cluster: Ray's own client, with timeouts and one-line errors."""

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
"""Environment variables of Ray that may have the URL of a dashboard, in order of precedence."""
CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S = 10.0, 120.0
_HOW_TO_AUTHENTICATE = (
    "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with the cluster's token or "
    "RAY_AUTH_TOKEN to the token itself"
)
_VERBOSE_LOGGERS = ("ray", "ray.dashboard.modules.dashboard_sdk")
"""Loggers of Ray that report each upload of a package."""
_STATUS_CODE = re.compile(r"status code (\d+)")
_NOT_FOUND, _SERVER_ERROR = 404, 500

T = TypeVar("T")


class ClusterLostError(PipelineError):
    """An error of a cluster that no longer answers; it may have carried out the request."""


class _NotUnderstoodError(UsageError):
    """An error of a request that the server answers but rejects."""


class _TimedClient(JobSubmissionClient):
    """Ray's client with timeouts, as it would otherwise wait for an answer forever."""

    def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
        timeout_s = (CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S)
        return super()._do_request(method, endpoint, timeout=timeout_s, **options)


def dashboard_url(address: str | None) -> str:
    """Return the URL of a cluster's dashboard.

    Args:
        address: `http://HOST:8265` or `HOST:8265`; None for that of Ray's environment variables,
            or of this machine if they are not set.

    Raises:
        UsageError: The address is not the URL of a dashboard.
    """
    if address is None:
        values = (os.environ.get(name, "") for name in ADDRESS_VARIABLES)
        # RAY_ADDRESS may also be the address for drivers, which is not that of a dashboard.
        return next((url for url in values if url.startswith("http")), DEFAULT_ADDRESS).rstrip("/")
    url = address if "://" in address else f"http://{address}"
    if not re.fullmatch(r"https?://[^\s/]+\S*", url) or address in ("auto", "local"):
        raise UsageError(
            f"address {redact(address, {})!r}: must be the URL of a cluster's dashboard, "
            "such as http://HOST:8265"
        )
    return url.rstrip("/")


class JobClient:
    """Client of the jobs of one cluster.

    Args:
        address: Address of the dashboard, as for `dashboard_url`.

    Attributes:
        address: The dashboard's URL without credentials, for messages.

    Raises:
        UsageError: No dashboard answers at the address, or it requires another token.
    """

    def __init__(self, address: str | None) -> None:
        url = dashboard_url(address)
        self.address = redact(url, {})
        # Ray's client prefers the variable to the address that it is called with.
        os.environ[ADDRESS_VARIABLES[0]] = url
        for name in _VERBOSE_LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            self._client = self._request(lambda: _TimedClient(url))
        except (ClusterLostError, _NotUnderstoodError, KeyError) as error:
            reason = f"no answer from a Ray dashboard ({first_line(error)})"
            raise UsageError(
                f"address {self.address}: {reason}; give the URL of the dashboard on the head "
                "node: --address http://HOST:8265"
            ) from error

    def submit(self, submission: Submission, job: str, num_cpus: float | None) -> None:
        """Submit a job.

        Args:
            submission: The prepared job.
            job: Name of the job, which must be new on this cluster.
            num_cpus: CPUs to reserve for the driver, which may then run on any node; None to run
                it on the head node.

        Raises:
            UsageError: The cluster rejects the job.
            ClusterLostError: The cluster does not answer; the job may have been submitted or not.
        """
        environment = {"working_dir": str(submission.folder), "env_vars": dict(submission.env)}
        try:
            self._request(
                lambda: self._client.submit_job(
                    entrypoint=submission.entrypoint,
                    submission_id=job,
                    runtime_env=environment,
                    metadata=dict(submission.metadata),
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
        """Return the details of a job.

        Raises:
            UsageError: There is no job of this name.
            ClusterLostError: The cluster does not answer.
        """
        return self._request(lambda: self._client.get_job_info(job), job)

    def list_jobs(self) -> list[JobDetails]:
        """Return the submitted jobs, and drivers that were started in other ways."""
        return self._request(self._client.list_jobs)

    def stop(self, job: str) -> bool:
        """Ask a job to stop; return whether it was running."""
        return self._request(lambda: self._client.stop_job(job), job)

    def logs(self, job: str) -> str:
        """Return the log of a job up to now."""
        return self._request(lambda: self._client.get_job_logs(job), job)

    async def tail(self, job: str) -> AsyncGenerator[str, None]:
        """Yield the log of a job in pieces, from its start, until the job ends.

        A broken connection may also look like the end of the job.

        Raises:
            ClusterLostError: The connection broke.
        """
        try:
            async for text in self._client.tail_job_logs(job):
                yield text
        except (OSError, RuntimeError, aiohttp.ClientError) as error:
            raise ClusterLostError(first_line(error)) from error

    def _request(self, call: Callable[[], T], job: str = "") -> T:
        """Call Ray's client and translate its errors.

        Args:
            call: Request to Ray's client.
            job: Name of the job that the request is about; empty for none.

        Raises:
            UsageError: The cluster rejects the token or the request, or has no such job.
            ClusterLostError: The cluster does not answer, or answers with a server error.
        """
        try:
            return call()
        except AuthenticationError as error:
            is_missing = "required" in error.message
            problem = "requires a token" if is_missing else "rejects this token"
            raise UsageError(f"address {self.address} {problem}; {_HOW_TO_AUTHENTICATE}") from error
        except (OSError, ValueError) as error:  # the base classes of the errors of requests
            raise ClusterLostError(redact(first_line(error), {})) from error
        except RuntimeError as error:
            found = _STATUS_CODE.search(str(error))
            code = int(found[1]) if found else 0
            if code == _NOT_FOUND and job:
                raise UsageError(
                    f"job {job!r}: {self.address} has no job of that name; list its jobs with "
                    f"`passtream job list --address {self.address}`"
                ) from error
            reason = redact(_error_reason(error), {})
            if code >= _SERVER_ERROR:
                raise ClusterLostError(reason) from error
            raise _NotUnderstoodError(f"address {self.address}: {reason}") from error


def _error_reason(error: RuntimeError) -> str:
    """Return the first line of an error of Ray, or the last line if it is a traceback."""
    lines = str(error).strip().splitlines() or [""]
    return lines[-1] if "Traceback" in str(error) else lines[0]

"""Tests of the exit code and text of a job's end.

`tests/jobs/cli/test_job_commands.py` follows real jobs.
"""

import pytest
from ray.job_submission import JobDetails, JobStatus

from jobs.submit.log_follower import end_text, job_exit_code


@pytest.mark.parametrize(
    ("status", "driver_exit_code", "message", "expected", "text"),
    [
        ("SUCCEEDED", 0, "Job finished successfully.", 0, "succeeded"),
        ("STOPPED", None, "Job was intentionally stopped.", 130, "committed shards stay"),
        ("FAILED", 4, "Job entrypoint command failed", 4, "ended with exit code 4"),
        (
            "FAILED",
            -9,
            "Job entrypoint command failed with exit code -9, last available logs (truncated to "
            "20,000 chars):\nthe log",
            3,
            "failed: Job entrypoint command failed with exit code -9; the same submit continues",
        ),
        (
            "FAILED",
            None,
            "runtime_env setup failed:\n no such image",
            3,
            "failed: runtime_env setup failed: no such image; the same",
        ),
        ("FAILED", None, None, 3, "failed: ; the same"),
    ],
)
def test_exit_code_and_text_of_each_end(status, driver_exit_code, message, expected, text):
    job = JobDetails(
        type="SUBMISSION",
        status=JobStatus(status),
        entrypoint="",
        message=message,
        driver_exit_code=driver_exit_code,
    )
    assert job_exit_code(job) == expected
    assert text in end_text(job)
    assert "\n" not in end_text(job)

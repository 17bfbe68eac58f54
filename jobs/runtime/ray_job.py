"""A process that Ray Jobs has started: how it knows, and how long it has to stop."""

import os

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

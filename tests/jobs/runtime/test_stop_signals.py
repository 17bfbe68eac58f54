"""Tests of the grace time; `tests/faults/test_stop.py` sends signals to the command."""

import pytest

from jobs.runtime.stop_signals import GRACE_S, grace_s


@pytest.mark.parametrize(
    ("env", "expected_s"),
    [
        ({}, GRACE_S),
        ({"RAY_JOB_STOP_WAIT_TIME_S": "1"}, GRACE_S),  # not a Ray job
        ({"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}, 1.0),
        ({"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}", "RAY_JOB_STOP_WAIT_TIME_S": "6"}, 2.0),
        ({"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}", "RAY_JOB_STOP_WAIT_TIME_S": "600"}, GRACE_S),
    ],
)
def test_grace_ends_before_ray_kills_the_job(env, expected_s, monkeypatch):
    for name in ("RAY_JOB_CONFIG_JSON_ENV_VAR", "RAY_JOB_STOP_WAIT_TIME_S"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert grace_s() == expected_s

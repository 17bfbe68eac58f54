"""SIGTERM and Ctrl-C end a run within ten seconds with exit code 130, and keep its commits."""

import os
import signal
import time

import pytest

from tests.support import (
    QUICK,
    children,
    kill_session,
    n_commits,
    start_passtream,
    wait_until,
    write_tones,
)

LIMIT_S = 10.0
SHARDS = 150
OPTIONS = (*QUICK, "--shard-clips", 1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_tones(folder, [4.0] * SHARDS)
    return folder


def _signal_process(process, number):
    process.send_signal(number)


def _signal_group(process, number):
    """Signal every process of the group, as a terminal does on Ctrl-C."""
    os.killpg(process.pid, number)


@pytest.mark.parametrize(
    ("runner", "number", "send"),
    [
        pytest.param("--on-ray", signal.SIGTERM, _signal_process, marks=pytest.mark.slow),
        ("--on-ray", signal.SIGINT, _signal_group),
        ("--in-process", signal.SIGTERM, _signal_process),
        ("--in-process", signal.SIGINT, _signal_group),
    ],
)
def test_signal_stops_a_run_in_time_with_exit_code_130(runner, number, send, corpus, tmp_path):
    table, log = tmp_path / "table", tmp_path / "log"
    process = start_passtream("embed", corpus, table, *OPTIONS, runner, log=log)
    try:
        wait_until(lambda: n_commits(table) >= 2)
        descendants = children(process.pid)
        signalled_s = time.monotonic()
        send(process, number)
        assert process.wait(timeout=60) == 130, log.read_text()
        assert time.monotonic() - signalled_s < LIMIT_S
        wait_until(lambda: not any(each.is_running() for each in descendants), timeout_s=10)
    finally:
        kill_session(process)
    assert "stopped; what is committed stays" in log.read_text()
    assert 2 <= n_commits(table) < SHARDS

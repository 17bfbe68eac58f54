"""SIGTERM and Ctrl-C: out within ten seconds, exit code 130, and nothing half-done counts."""

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


def _to_process(process, number):
    process.send_signal(number)


def _to_group(process, number):
    """As a terminal does on Ctrl-C: every process of the foreground group gets it."""
    os.killpg(process.pid, number)


@pytest.mark.parametrize(
    ("where", "number", "send"),
    [
        pytest.param("--on-ray", signal.SIGTERM, _to_process, marks=pytest.mark.slow),
        ("--on-ray", signal.SIGINT, _to_group),
        ("--in-process", signal.SIGTERM, _to_process),
        ("--in-process", signal.SIGINT, _to_group),
    ],
)
def test_stops_in_time_with_130(where, number, send, corpus, tmp_path):
    table, log = tmp_path / "table", tmp_path / "log"
    process = start_passtream("embed", corpus, table, *OPTIONS, where, log=log)
    try:
        wait_until(lambda: n_commits(table) >= 2)
        below = children(process.pid)
        told = time.monotonic()
        send(process, number)
        assert process.wait(timeout=60) == 130, log.read_text()
        assert time.monotonic() - told < LIMIT_S
        wait_until(lambda: not any(each.is_running() for each in below), timeout_s=10)
    finally:
        kill_session(process)
    assert "stopped; what is committed stays" in log.read_text()
    assert 2 <= n_commits(table) < SHARDS

"""What breaks on a cluster of several nodes, piece by piece; each time the table is as ever."""

import contextlib
import json
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from ray.job_submission import JobSubmissionClient

from pipeline.wording import count
from tests.faults.aftermath import OPTIONS, assert_nothing_lost
from tests.faults.breakable import breakable_cluster
from tests.support import (
    ROOT,
    error_rows,
    kill_session,
    n_commits,
    passtream,
    start_passtream,
    wait_until,
)

N_NODES = 2
SILENCE_S = 6
ONE_IS_HELD_UP = {"013.wav": "wait"}
RUN_TIMEOUT_S = 240

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with breakable_cluster(N_NODES, tmp_path_factory.mktemp("site")) as cluster:
        yield cluster


@pytest.fixture
def run(cluster, corpus, tmp_path):
    """Starts the command on the cluster; nothing of it is left behind."""
    cluster.faults({})
    running = []

    def start(*options, name="log"):
        log = tmp_path / name
        process = start_passtream(*_command(cluster, corpus, tmp_path), *options, log=log)
        running.append(process)
        return process, log

    yield start
    for process in running:
        kill_session(process)
    wait_until(lambda: not cluster.actors())


def _command(cluster, corpus, tmp_path):
    return ("embed", corpus.folder, tmp_path / "table", *OPTIONS, "--address", cluster.address)


def _ends_well(process, log, code=0):
    assert process.wait(timeout=RUN_TIMEOUT_S) == code, log.read_text()
    return log.read_text()


def _committed(table, process, n=1):
    """Once `n` shards are, the processes that committed them."""
    wait_until(lambda: n_commits(table) >= n or process.poll() is not None)
    assert process.poll() is None, "it had ended before"
    commits = (table / "_passtream" / "commits").glob("*.json")
    return {json.loads(commit.read_text())["writer"]["pid"] for commit in commits}


def test_actor_killed_with_shards_open(run, corpus, tmp_path):
    table = tmp_path / "table"
    process, log = run()
    psutil.Process(_committed(table, process).pop()).kill()
    assert "try 1 failed, trying again: ActorDiedError" in _ends_well(process, log)
    assert_nothing_lost(table, corpus)


@pytest.mark.slow
def test_decoder_killed(run, cluster, corpus, tmp_path):
    cluster.faults(ONE_IS_HELD_UP)
    process, log = run()
    wait_until(cluster.waiting)
    cluster.waiting()[0].kill()
    assert "try 1 failed, trying again: the decoding process died" in _ends_well(process, log)
    assert_nothing_lost(tmp_path / "table", corpus)


@pytest.mark.slow
def test_driver_killed_then_run_again(run, cluster, corpus, tmp_path):
    table = tmp_path / "table"
    cluster.faults(ONE_IS_HELD_UP)
    process, _ = run()
    _committed(table, process, 2)
    process.kill()
    wait_until(lambda: not cluster.actors())  # what could write
    n_done = n_commits(table)
    cluster.faults({})
    told = _ends_well(*run(name="again"))
    left = corpus.n_shards - n_done
    assert left
    assert f"resuming: {count(n_done, 'shard')} found done, {left} to do" in told
    assert_nothing_lost(table, corpus)


def test_node_lost_with_an_actor_on_it(run, cluster, corpus, tmp_path):
    table = tmp_path / "table"
    cluster.faults(ONE_IS_HELD_UP)  # on the node that is lost: so there is a shard open on it
    process, log = run()
    wait_until(lambda: cluster.waiting() or process.poll() is not None)
    cluster.remove_node(cluster.node_of(cluster.waiting()[0].pid))
    try:
        assert "try 1 failed, trying again: " in _ends_well(process, log)
    finally:
        cluster.add_node()
    assert_nothing_lost(table, corpus)


@pytest.mark.slow
def test_actor_that_stood_still_changes_nothing_when_it_wakes_up(run, corpus, tmp_path):
    table = tmp_path / "table"
    process, log = run("--actor-timeout-s", SILENCE_S)
    sleeper = psutil.Process(_committed(table, process).pop())
    sleeper.suspend()
    try:
        wait_until(lambda: "said nothing for" in log.read_text() or process.poll() is not None)
        n_done = n_commits(table)
        # Its shards are done by others before it goes on.
        wait_until(lambda: n_commits(table) >= n_done + 1 or process.poll() is not None)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            sleeper.resume()
    assert f"said nothing for {SILENCE_S} s" in _ends_well(process, log)
    assert_nothing_lost(table, corpus)


@pytest.mark.slow
def test_second_driver_is_told_who_has_the_table(run, cluster, corpus, tmp_path):
    table = tmp_path / "table"
    cluster.faults(ONE_IS_HELD_UP)
    process, log = run()
    wait_until(cluster.waiting)
    second = passtream(*_command(cluster, corpus, tmp_path))
    assert second.returncode == 2
    holder = f"host {socket.gethostname()}, process {process.pid}"
    assert f"table {table}: another run is writing to it ({holder})" in second.stderr
    cluster.waiting()[0].kill()
    _ends_well(process, log)
    assert_nothing_lost(table, corpus)


def test_clips_that_no_decoder_survives(run, cluster, corpus, tmp_path):
    """Two of one shard, and one of another, which is told of its limit and not killed."""
    table = tmp_path / "table"
    faults = {"001.wav": "segfault", "002.wav": "sigkill", "014.wav": "memory"}
    cluster.faults(faults)
    told = _ends_well(*run())
    assert re.search(r"try 2 failed, .*died at clip 1 of the shard", told), told
    assert "Unable to allocate 8.00 PiB" in told
    deadly = {str(corpus.folder / name) for name in faults}
    errors = error_rows(table)
    for uri in deadly:
        error_class, message = errors[uri]
        assert error_class == "poison"
        assert "the process that decodes it dies or runs out of memory, twice in a row" in message
    calm = {uri: vector for uri, vector in corpus.calm.items() if uri not in deadly}
    assert_nothing_lost(table, replace(corpus, calm=calm))


@pytest.mark.slow
def test_job_stopped_and_submitted_again(run, cluster, corpus, tmp_path):
    table = tmp_path / "table"
    client = JobSubmissionClient(cluster.dashboard)
    command = " ".join(map(str, (*_command(cluster, corpus, tmp_path)[:-1], "auto")))
    submit = ("submit", "--no-wait", "--", "env", f"PYTHONPATH={ROOT}", sys.executable)
    cluster.faults(ONE_IS_HELD_UP)
    first = _job(cluster, *submit, "-m", "jobs.cli", *command.split())
    wait_until(lambda: cluster.waiting() or client.get_job_status(first).is_terminal())
    assert client.get_job_status(first) == "RUNNING", client.get_job_logs(first)
    wait_until(lambda: n_commits(table) >= 1)
    _job(cluster, "stop", first)
    assert client.get_job_status(first) == "STOPPED"
    wait_until(lambda: not cluster.actors())
    n_done = n_commits(table)
    cluster.faults({})
    again = _job(cluster, *submit, "-m", "jobs.cli", *command.split())
    wait_until(lambda: client.get_job_status(again).is_terminal(), timeout_s=RUN_TIMEOUT_S)
    told = client.get_job_logs(again)
    assert client.get_job_status(again) == "SUCCEEDED", told
    assert f"resuming: {count(n_done, 'shard')} found done" in told
    assert_nothing_lost(table, corpus)


def _job(cluster, action, *args):
    """Runs `ray job`; the job that it tells of."""
    ray = Path(sys.executable).with_name("ray")
    done = subprocess.run(
        [ray, "job", action, "--address", cluster.dashboard, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    return re.search(r"raysubmit_\w+", done.stdout)[0]

"""Faults of a cluster of several nodes: after each, the table is that of an undisturbed run."""

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
from tests.faults.breakable import breakable_cluster
from tests.faults.corpus import OPTIONS, assert_nothing_lost
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
ACTOR_TIMEOUT_S = 6
ONE_WAITS = {"013.wav": "wait"}
RUN_TIMEOUT_S = 240

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with breakable_cluster(N_NODES, tmp_path_factory.mktemp("site")) as cluster:
        yield cluster


@pytest.fixture
def run(cluster, corpus, tmp_path):
    """Function that starts the command on the cluster; its processes are killed after the test."""
    cluster.set_faults({})
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


def _wait_for_exit(process, log, code=0):
    assert process.wait(timeout=RUN_TIMEOUT_S) == code, log.read_text()
    return log.read_text()


def _wait_for_commits(table, process, n=1):
    """Wait for `n` commits; return the ids of the processes that made them."""
    wait_until(lambda: n_commits(table) >= n or process.poll() is not None)
    assert process.poll() is None, "the run ended before the fault"
    commits = (table / "_passtream" / "commits").glob("*.json")
    return {json.loads(commit.read_text())["writer"]["pid"] for commit in commits}


def test_shards_of_a_killed_actor_are_retried(run, corpus, tmp_path):
    table = tmp_path / "table"
    process, log = run()
    psutil.Process(_wait_for_commits(table, process).pop()).kill()
    assert "attempt 1 failed, retrying: ActorDiedError" in _wait_for_exit(process, log)
    assert_nothing_lost(table, corpus)


@pytest.mark.slow
def test_shard_of_a_killed_decoder_is_retried(run, cluster, corpus, tmp_path):
    cluster.set_faults(ONE_WAITS)
    process, log = run()
    wait_until(cluster.find_waiting_decoder)
    cluster.find_waiting_decoder()[0].kill()
    assert "attempt 1 failed, retrying: the decoding process died" in _wait_for_exit(process, log)
    assert_nothing_lost(tmp_path / "table", corpus)


@pytest.mark.slow
def test_run_after_a_killed_driver_resumes_its_table(run, cluster, corpus, tmp_path):
    table = tmp_path / "table"
    cluster.set_faults(ONE_WAITS)
    process, _ = run()
    _wait_for_commits(table, process, 2)
    process.kill()
    wait_until(lambda: not cluster.actors())  # they could still write
    n_done = n_commits(table)
    cluster.set_faults({})
    log_text = _wait_for_exit(*run(name="again"))
    left = corpus.n_shards - n_done
    assert left
    assert f"resuming: {count(n_done, 'shard')} found done, {left} to do" in log_text
    assert_nothing_lost(table, corpus)


def test_shards_of_a_lost_node_are_retried(run, cluster, corpus, tmp_path):
    table = tmp_path / "table"
    cluster.set_faults(ONE_WAITS)  # so that the lost node has a shard in flight
    process, log = run()
    wait_until(lambda: cluster.find_waiting_decoder() or process.poll() is not None)
    cluster.remove_node(cluster.find_node(cluster.find_waiting_decoder()[0].pid))
    try:
        assert "attempt 1 failed, retrying: " in _wait_for_exit(process, log)
    finally:
        cluster.add_node()
    assert_nothing_lost(table, corpus)


@pytest.mark.slow
def test_resumed_actor_changes_nothing_after_its_timeout(run, corpus, tmp_path):
    table = tmp_path / "table"
    process, log = run("--actor-timeout-s", ACTOR_TIMEOUT_S)
    actor = psutil.Process(_wait_for_commits(table, process).pop())
    actor.suspend()
    try:
        wait_until(lambda: "did not answer for" in log.read_text() or process.poll() is not None)
        n_done = n_commits(table)
        # Another actor embeds its shards before it resumes.
        wait_until(lambda: n_commits(table) >= n_done + 1 or process.poll() is not None)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            actor.resume()
    assert f"did not answer for {ACTOR_TIMEOUT_S} s" in _wait_for_exit(process, log)
    assert_nothing_lost(table, corpus)


@pytest.mark.slow
def test_second_driver_is_refused_and_names_the_first(run, cluster, corpus, tmp_path):
    table = tmp_path / "table"
    cluster.set_faults(ONE_WAITS)
    process, log = run()
    wait_until(cluster.find_waiting_decoder)
    second = passtream(*_command(cluster, corpus, tmp_path))
    assert second.returncode == 2
    holder = f"host {socket.gethostname()}, process {process.pid}"
    assert f"table {table}: another run is writing to it ({holder})" in second.stderr
    cluster.find_waiting_decoder()[0].kill()
    _wait_for_exit(process, log)
    assert_nothing_lost(table, corpus)


def test_clips_that_kill_decoders_become_error_rows(run, cluster, corpus, tmp_path):
    """Two clips of a shard kill their decoder; a clip of another shard exceeds its memory limit."""
    table = tmp_path / "table"
    faults = {"001.wav": "segfault", "002.wav": "sigkill", "014.wav": "memory"}
    cluster.set_faults(faults)
    log_text = _wait_for_exit(*run())
    assert re.search(r"attempt 2 failed, .*died at clip 1 of the shard", log_text), log_text
    assert "Unable to allocate 8.00 PiB" in log_text
    deadly = {str(corpus.folder / name) for name in faults}
    errors = error_rows(table)
    for uri in deadly:
        error_class, message = errors[uri]
        assert error_class == "poison"
        assert "the process that decodes it dies or runs out of memory, twice in a row" in message
    expected = {uri: vector for uri, vector in corpus.expected.items() if uri not in deadly}
    assert_nothing_lost(table, replace(corpus, expected=expected))


@pytest.mark.slow
def test_resubmitted_job_resumes_the_table_of_a_stopped_job(run, cluster, corpus, tmp_path):
    table = tmp_path / "table"
    client = JobSubmissionClient(cluster.dashboard)
    command = " ".join(map(str, (*_command(cluster, corpus, tmp_path)[:-1], "auto")))
    submit = ("submit", "--no-wait", "--", "env", f"PYTHONPATH={ROOT}", sys.executable)
    cluster.set_faults(ONE_WAITS)
    first = _run_ray_job(cluster, *submit, "-m", "jobs.cli", *command.split())
    wait_until(lambda: cluster.find_waiting_decoder() or client.get_job_status(first).is_terminal())
    assert client.get_job_status(first) == "RUNNING", client.get_job_logs(first)
    wait_until(lambda: n_commits(table) >= 1)
    _run_ray_job(cluster, "stop", first)
    assert client.get_job_status(first) == "STOPPED"
    wait_until(lambda: not cluster.actors())
    n_done = n_commits(table)
    cluster.set_faults({})
    again = _run_ray_job(cluster, *submit, "-m", "jobs.cli", *command.split())
    wait_until(lambda: client.get_job_status(again).is_terminal(), timeout_s=RUN_TIMEOUT_S)
    log_text = client.get_job_logs(again)
    assert client.get_job_status(again) == "SUCCEEDED", log_text
    assert f"resuming: {count(n_done, 'shard')} found done" in log_text
    assert_nothing_lost(table, corpus)


def _run_ray_job(cluster, action, *args):
    """Run `ray job`; return the id of the job."""
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

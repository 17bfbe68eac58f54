"""Tests of `passtream submit` and `job` on a real head node whose dashboard requires a token."""

import json
import os
import signal
import subprocess

import pytest
import yaml

from jobs.settings.sent_config import CONFIG_NAME
from pipeline.wording import count
from tests.faults.breakable import SOUNDFILE_MODULE
from tests.ray_head import BIN, ray_head
from tests.servers import Fault, S3Server, fault_proxy, free_port
from tests.support import (
    QUICK_ARCH,
    ROOT,
    RUN_TIMEOUT_S,
    assert_same_vectors,
    assert_verified,
    kill_session,
    n_commits,
    passtream,
    start_passtream,
    vectors,
    wait_until,
    write_tones,
)

N_CLIPS = 8
BLOCKED_CLIP = "005.wav"
"""Clip at which the decoder waits until the job is stopped."""
SECRET = "do-not-show-me"
MODEL = {"arch": QUICK_ARCH, "weights": "random:0", "shard_clips": 1}
TOLERANCE = 1e-5

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Folder with a decoder for the cluster that waits at the clips named in `faults.json`."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "soundfile.py").write_text(SOUNDFILE_MODULE)
    (folder / "faults.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def head(site):
    """Head node of a Ray cluster that requires a token."""
    path = os.pathsep.join([str(site), os.environ["PYTHONPATH"]])
    with ray_head({"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": ""}) as head:
        yield head


def _write_config(folder, **settings):
    path = folder / "nightly.yaml"
    path.write_text(yaml.safe_dump(MODEL | settings))
    return path


def read_all_text(folder):
    """Return the content of all files below a folder."""
    files = [each for each in folder.rglob("*") if each.is_file()]
    return "".join(each.read_bytes().decode(errors="replace") for each in files)


@pytest.mark.slow
def test_stopped_job_continues_when_it_is_submitted_again(head, site, tmp_path):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_tones(corpus, [1.0 + 0.25 * i for i in range(N_CLIPS)])
    options = {"secret": SECRET}
    config = _write_config(
        tmp_path, sources=[str(corpus)], table=str(table), storage_options=options
    )
    env, at = head.env, ("--address", head.url)
    (site / "faults.json").write_text(json.dumps({BLOCKED_CLIP: "wait"}))
    sent = passtream("submit", config, *at, "--no-wait", "--env", f"HOME={tmp_path}", env=env)
    assert sent.returncode == 0, sent.stderr
    (job,) = sent.stdout.split()
    assert f"stop it: passtream job stop {job} --address {head.url}" in sent.stderr
    assert f"exist on all nodes of the cluster: {corpus}, {table}" in sent.stderr

    log = tmp_path / "log"
    follower = start_passtream("job", "logs", job, "--follow", *at, log=log, env=env)
    try:
        wait_until(lambda: f"/{N_CLIPS}, " in log.read_text() and n_commits(table) >= 1)
        follower.send_signal(signal.SIGINT)
        assert follower.wait(timeout=30) == 130, log.read_text()
    finally:
        kill_session(follower)
    assert f"job {job} continues to run" in log.read_text()
    shown = json.loads(passtream("job", "status", job, "--json", *at, env=env).stdout)
    assert (shown["status"], shown["table"]) == ("RUNNING", str(table))

    stopped = passtream("job", "stop", job, *at, env=env)
    assert stopped.returncode == 0, stopped.stderr
    assert "committed shards stay. The same submit continues" in stopped.stderr
    assert head.get_json(f"/api/jobs/{job}")["status"] == "STOPPED"
    n_done = n_commits(table)
    assert 1 <= n_done < N_CLIPS
    assert "stopped; what is committed stays" in head.get_json(f"/api/jobs/{job}/logs")["logs"]

    (site / "faults.json").write_text("{}")
    again = passtream("submit", config, *at, "--submission-id", "again", env=env)
    assert again.returncode == 0, again.stdout + again.stderr
    assert (
        f"resuming: {count(n_done, 'shard')} found done, {N_CLIPS - n_done} to do" in again.stdout
    )
    assert "job again succeeded" in again.stderr
    assert assert_verified(table).clips == N_CLIPS
    undisturbed = tmp_path / "undisturbed"
    model = ("--arch", QUICK_ARCH, "--weights", "random:0")
    assert passtream("embed", corpus, undisturbed, *model, "--in-process").returncode == 0
    assert_same_vectors(vectors(table), vectors(undisturbed), within=TOLERANCE)

    jobs_text = json.dumps(head.get_json("/api/jobs/"))
    assert SECRET not in jobs_text
    assert "config_sha256" in jobs_text
    packages = head.working_dirs
    assert len(packages) == 2  # each job has its own, as the first has removed its settings
    for package in packages:
        ours = {"jobs", "models", "pipeline"}
        assert {each.name for each in package.iterdir()} - {"__pycache__"} == ours
        compiled = package.glob("jobs/embed/__pycache__/__main__*.pyc")
        assert list(compiled), "the job did not run what was sent"
    assert SECRET not in read_all_text(head.folder)


def test_rays_own_submit_and_exit_code_through_a_bad_connection(head, tmp_path):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_tones(corpus, [1.0, 2.0])
    (corpus / "broken.wav").write_bytes(b"no audio")
    settings = {"sources": [str(corpus)], "table": str(table)}
    config = _write_config(tmp_path, **settings, max_error_ratio=1)
    command = ["job", "submit", "--address", head.url, "--working-dir", ROOT]
    done = subprocess.run(
        [BIN / "ray", *command, "--", "python", "-m", "jobs.embed", "--config", config],
        env=os.environ | head.env,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "this is a Ray job: its actors run on this cluster" in done.stdout
    assert assert_verified(table).clips == 2
    package = next(each for each in head.working_dirs if (each / "tests").exists())
    not_sent = {".git", ".venv", ".mypy_cache", ".env"}
    assert not not_sent & {each.name for each in package.iterdir()}

    # The clip fails again, which exceeds --max-error-ratio and gives exit code 4. The proxy blocks
    # WebSockets, so the log must be requested.
    with fault_proxy(S3Server(head.url)) as proxy:
        proxy.faults.append(Fault("unavailable", "GET", "/api/jobs/", times=2))
        config = _write_config(tmp_path, **settings, retry="all")
        done = passtream("submit", config, "--address", proxy.url, env=head.env)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "more than --max-error-ratio" in done.stdout
    assert done.stdout.count("Running entrypoint for job") == 1
    assert "does not answer" in done.stderr
    assert "the log's connection broke" in done.stderr
    assert "ended with exit code 4" in done.stderr


def test_bad_table_is_refused_by_an_installed_passtream(head, tmp_path):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_tones(corpus, [1.0])
    table.write_text("a file")
    config = _write_config(tmp_path, sources=[str(corpus)], table=str(table))
    env = head.env | {"RAY_API_SERVER_ADDRESS": head.url}
    done = passtream("submit", config, "--installed", env=env)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "is a file" in done.stdout
    assert f"passtream embed --config {CONFIG_NAME}" in done.stdout
    listed = passtream("job", "list", env=env)
    assert str(table) in listed.stdout.splitlines()[-1]


def test_requests_that_a_cluster_refuses(head, tmp_path):
    config = _write_config(tmp_path, sources=["/nowhere"], table="/nowhere/table")
    n_jobs = len(head.get_json("/api/jobs/"))
    wrong = tmp_path / "token"
    wrong.write_text("0" * 64)
    home = {"HOME": str(tmp_path)}  # Ray also searches the home folder for a token
    token = {"RAY_AUTH_MODE": "token"}
    here = ("--address", head.url)
    existing = (*here, "--submission-id", head.get_json("/api/jobs/")[0]["submission_id"])
    for args, env, message in (
        (("submit", config, *here), home, "requires a token; set RAY_AUTH_MODE=token"),
        (("submit", config, *here), home | token, "RAY_AUTH_TOKEN_PATH"),
        (
            ("submit", config, *here),
            token | {"RAY_AUTH_TOKEN_PATH": str(wrong)},
            "rejects this token; set RAY_AUTH_MODE=token",
        ),
        (
            ("submit", config, "--address", f"http://127.0.0.1:{free_port()}"),
            head.env,
            "no answer from a Ray dashboard",
        ),
        (("submit", config, *existing), head.env, "has a job of that name"),
        (("job", "logs", "nosuch", "--follow", *here), head.env, "has no job of that name"),
    ):
        done = passtream(*args, env=env)
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
        problem = [line for line in done.stderr.splitlines() if line.startswith("passtream: ")]
        assert done.stderr.splitlines() == problem
    assert len(head.get_json("/api/jobs/")) == n_jobs

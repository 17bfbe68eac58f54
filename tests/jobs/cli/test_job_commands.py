"""`passtream submit` and `job`, on a real head with its dashboard, which asks for a token."""

import json
import os
import signal
import subprocess

import pytest
import yaml

from jobs.settings.sent_config import CONFIG_NAME
from pipeline.wording import count
from tests.faults.breakable import DECODER
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
HELD_UP = "005.wav"
SECRET = "do-not-show-me"
MODEL = {"arch": QUICK_ARCH, "weights": "random:0", "shard_clips": 1}
TOLERANCE = 1e-5

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The decoders of the cluster wait at the clips that are told here; nothing else of it."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "soundfile.py").write_text(DECODER)
    (folder / "faults.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def head(site):
    path = os.pathsep.join([str(site), os.environ["PYTHONPATH"]])
    with ray_head({"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": ""}) as head:
        yield head


def _config(folder, **settings):
    path = folder / "nightly.yaml"
    path.write_text(yaml.safe_dump(MODEL | settings))
    return path


def all_text(folder):
    """What can be read below a folder of a cluster, while it runs."""
    files = [each for each in folder.rglob("*") if each.is_file()]
    return "".join(each.read_bytes().decode(errors="replace") for each in files)


@pytest.mark.slow
def test_stopped_and_submitted_again(head, site, tmp_path):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_tones(corpus, [1.0 + 0.25 * i for i in range(N_CLIPS)])
    options = {"secret": SECRET}
    config = _config(tmp_path, sources=[str(corpus)], table=str(table), storage_options=options)
    env, at = head.env, ("--address", head.url)
    (site / "faults.json").write_text(json.dumps({HELD_UP: "wait"}))
    sent = passtream("submit", config, *at, "--no-wait", "--env", f"HOME={tmp_path}", env=env)
    assert sent.returncode == 0, sent.stderr
    (job,) = sent.stdout.split()
    assert f"stop it: passtream job stop {job} --address {head.url}" in sent.stderr
    assert f"all of its nodes have to see: {corpus}, {table}" in sent.stderr

    log = tmp_path / "log"
    watching = start_passtream("job", "logs", job, "--follow", *at, log=log, env=env)
    try:
        wait_until(lambda: f"/{N_CLIPS}, " in log.read_text() and n_commits(table) >= 1)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(timeout=30) == 130, log.read_text()
    finally:
        kill_session(watching)
    assert f"job {job} goes on without being watched" in log.read_text()
    shown = json.loads(passtream("job", "status", job, "--json", *at, env=env).stdout)
    assert (shown["status"], shown["table"]) == ("RUNNING", str(table))

    stopped = passtream("job", "stop", job, *at, env=env)
    assert stopped.returncode == 0, stopped.stderr
    assert "what is committed stays. The same submit goes on" in stopped.stderr
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
    calm = tmp_path / "calm"
    model = ("--arch", QUICK_ARCH, "--weights", "random:0")
    assert passtream("embed", corpus, calm, *model, "--in-process").returncode == 0
    assert_same_vectors(vectors(table), vectors(calm), within=TOLERANCE)

    told = json.dumps(head.get_json("/api/jobs/"))
    assert SECRET not in told
    assert "config_sha256" in told
    packages = head.working_dirs
    assert len(packages) == 2  # an earlier job's has no settings any more
    for package in packages:
        ours = {"jobs", "models", "pipeline"}
        assert {each.name for each in package.iterdir()} - {"__pycache__"} == ours
        compiled = package.glob("jobs/embed/__pycache__/__main__*.pyc")
        assert list(compiled), "the job did not run what was sent"
    assert SECRET not in all_text(head.folder)


def test_submitted_by_ray_itself_and_its_exit_code_through_a_bad_connection(head, tmp_path):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_tones(corpus, [1.0, 2.0])
    (corpus / "broken.wav").write_bytes(b"no audio")
    settings = {"sources": [str(corpus)], "table": str(table)}
    config = _config(tmp_path, **settings, max_error_ratio=1)
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
    kept_home = {".git", ".venv", ".mypy_cache", ".env"}
    assert not kept_home & {each.name for each in package.iterdir()}

    # The clip that failed once more, where that is too much for a run: it is said by the exit code.
    # The proxy lets no WebSocket through.
    with fault_proxy(S3Server(head.url)) as proxy:
        proxy.faults.append(Fault("unavailable", "GET", "/api/jobs/", times=2))
        config = _config(tmp_path, **settings, retry="all")
        done = passtream("submit", config, "--address", proxy.url, env=head.env)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "more than --max-error-ratio" in done.stdout
    assert done.stdout.count("Running entrypoint for job") == 1
    assert "does not answer" in done.stderr
    assert "the log's connection broke" in done.stderr
    assert "ended with exit code 4" in done.stderr


def test_bad_table_on_an_image_that_has_passtream(head, tmp_path):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_tones(corpus, [1.0])
    table.write_text("a file")
    config = _config(tmp_path, sources=[str(corpus)], table=str(table))
    env = head.env | {"RAY_API_SERVER_ADDRESS": head.url}
    done = passtream("submit", config, "--installed", env=env)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "is a file" in done.stdout
    assert f"passtream embed --config {CONFIG_NAME}" in done.stdout
    listed = passtream("job", "list", env=env)
    assert str(table) in listed.stdout.splitlines()[-1]


def test_who_is_refused(head, tmp_path):
    config = _config(tmp_path, sources=["/nowhere"], table="/nowhere/table")
    n_jobs = len(head.get_json("/api/jobs/"))
    wrong = tmp_path / "token"
    wrong.write_text("0" * 64)
    home = {"HOME": str(tmp_path)}  # where Ray looks for a token, too
    token = {"RAY_AUTH_MODE": "token"}
    here = ("--address", head.url)
    taken = (*here, "--submission-id", head.get_json("/api/jobs/")[0]["submission_id"])
    for args, env, told in (
        (("submit", config, *here), home, "asks for a token; set RAY_AUTH_MODE=token"),
        (("submit", config, *here), home | token, "RAY_AUTH_TOKEN_PATH"),
        (
            ("submit", config, *here),
            token | {"RAY_AUTH_TOKEN_PATH": str(wrong)},
            "does not take this token; set RAY_AUTH_MODE=token",
        ),
        (
            ("submit", config, "--address", f"http://127.0.0.1:{free_port()}"),
            head.env,
            "no answer of a Ray dashboard",
        ),
        (("submit", config, *taken), head.env, "has a job of that name"),
        (("job", "logs", "nosuch", "--follow", *here), head.env, "has none of that name"),
    ):
        done = passtream(*args, env=env)
        assert done.returncode == 2, done.stderr
        assert told in done.stderr
        problem = [line for line in done.stderr.splitlines() if line.startswith("passtream: ")]
        assert done.stderr.splitlines() == problem
    assert len(head.get_json("/api/jobs/")) == n_jobs

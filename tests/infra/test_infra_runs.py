"""Tests of the runs in `infra`: settings, entrypoints, the script of the nightly run, the stop."""

import http.server
import json
import shlex
import subprocess
import threading
import time
from pathlib import Path

import certifi
import pytest
import typer
import yaml

from infra.kuberay.components.nightly import start_run
from jobs.cli.main import app
from jobs.settings.load_config import load_config
from tests.infra.kubernetes_objects import validate_objects
from tests.infra.kustomize import build, find
from tests.support import ROOT

KUBERAY = ROOT / "infra" / "kuberay"
SETTINGS = sorted((ROOT / "infra").rglob("embed.yaml"))
NIGHTLY = build(KUBERAY / "example" / "nightly")
RUNS = [build(KUBERAY / name) for name in ("base", "overlays/spot", "example/run")]


@pytest.mark.parametrize("path", SETTINGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_settings_files_are_valid(path):
    config = load_config(path, {})
    assert config.table.startswith("s3://")
    # A run looks for GPUs only when it starts, so the settings are valid without a GPU.
    assert config.gpus_per_actor == 1


@pytest.mark.parametrize("objects", RUNS)
def test_entrypoints_are_valid_commands(objects):
    run = find(objects, "RayJob", "passtream")["spec"]
    program, command, *given = shlex.split(run["entrypoint"])
    assert program == "passtream"
    context = typer.main.get_command(app).commands[command].make_context(command, given)
    assert context.params["address"] == "auto"
    settings = find(objects, "ConfigMap", "passtream")["data"]
    head = run["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    mounts = head["containers"][0]["volumeMounts"]
    (mount,) = (each for each in mounts if each["name"] == "settings")
    assert Path(context.params["config"]) == Path(mount["mountPath"]) / next(iter(settings))
    load_config(None, yaml.safe_load(settings["embed.yaml"]) | {"log_format": "json"})
    env = yaml.safe_load(run["runtimeEnvYAML"])["env_vars"]
    assert set(env) == {"PASSTREAM_MODELS", "RAY_JOB_STOP_WAIT_TIME_S"}
    assert all(isinstance(value, str) for value in env.values())


class Api(http.server.BaseHTTPRequestHandler):
    """A fake Kubernetes API with the requests for RayJobs that start_run.py makes."""

    def do_GET(self):
        assert self.headers["Authorization"] == "Bearer secret"
        base, _, name = self.path.partition("/rayjobs")
        assert base == "/apis/ray.io/v1/namespaces/passtream"
        items = self.server.jobs
        found = {"items": items} if not name else find(items, "RayJob", name.removeprefix("/"))
        self._reply(found)

    def do_POST(self):
        job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        job["metadata"]["name"] = f"{job['metadata'].pop('generateName')}{len(self.server.jobs)}"
        job["metadata"]["namespace"] = "passtream"
        self.server.jobs.append(job)
        self._reply(job)

    def _reply(self, body):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def api(tmp_path):
    """Fake API server with only the suspended template, and a client with a service account."""
    for name, text in (("namespace", "passtream\n"), ("token", "secret\n")):
        (tmp_path / name).write_text(text)
    (tmp_path / "ca.crt").write_text(Path(certifi.where()).read_text())
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        server.jobs = [find(NIGHTLY, "RayJob", "passtream")]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server, start_run.RayJobs(f"http://127.0.0.1:{server.server_port}", tmp_path)
        server.shutdown()
        thread.join()


def test_nightly_script_starts_a_run_only_if_the_last_run_has_ended(api):
    server, jobs = api
    assert start_run.start_run(jobs) == "passtream-1 is started"
    template, run = server.jobs
    assert validate_objects([run])
    assert run["spec"] == template["spec"] | {"suspend": False}
    assert start_run.start_run(jobs) == "passtream-1 has not ended (new); nothing is started"
    run["status"] = {"jobDeploymentStatus": "Running"}
    assert "has not ended (Running)" in start_run.start_run(jobs)
    run["status"] = {"jobDeploymentStatus": "Failed"}
    assert start_run.start_run(jobs) == "passtream-2 is started"


def test_config_map_holds_the_tested_script():
    script = find(NIGHTLY, "ConfigMap", "passtream-nightly")["data"]["start_run.py"]
    assert script == Path(start_run.__file__).read_text()
    job = find(NIGHTLY, "CronJob", "passtream-nightly")["spec"]["jobTemplate"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    (mount,) = container["volumeMounts"]
    assert container["command"][1] == f"{mount['mountPath']}/start_run.py"


def pre_stop(pid: int) -> list[str]:
    """Return the preStop command of the head, limited to one process of this machine."""
    run = find(RUNS[0], "RayJob", "passtream")["spec"]["rayClusterSpec"]
    (container,) = run["headGroupSpec"]["template"]["spec"]["containers"]
    *shell, script = container["lifecycle"]["preStop"]["exec"]["command"]
    assert script.count("/proc/[0-9]*") == 1
    return [*shell, script.replace("/proc/[0-9]*", f"/proc/{pid}")]


@pytest.fixture
def program(tmp_path):
    """Function that starts a script named passtream, which ends at SIGTERM with exit code 130."""
    path = tmp_path / "bin" / "passtream"
    path.parent.mkdir()
    path.write_text('trap "exit 130" TERM\ntouch "$2"\nwhile :; do sleep 0.1; done\n')
    processes = []

    def start(command):
        started_file = tmp_path / command
        processes.append(subprocess.Popen(["bash", path, command, started_file]))
        while not started_file.exists():
            time.sleep(0.02)
        return processes[-1]

    yield start
    for each in processes:
        each.kill()
        each.wait()


def test_pre_stop_signals_the_run_and_waits_for_it(program):
    run = program("embed")
    ended = threading.Thread(target=run.wait)  # reaps the process, as a zombie counts as alive
    ended.start()
    subprocess.run(pre_stop(run.pid), check=True, timeout=60)
    ended.join()
    assert run.returncode == 130


def test_pre_stop_does_not_signal_other_commands(program):
    other = program("status")
    subprocess.run(pre_stop(other.pid), check=False, timeout=60)
    assert other.poll() is None

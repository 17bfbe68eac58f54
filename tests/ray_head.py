"""A Ray cluster for one test, with its own processes, ports, folder and token."""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.servers import free_port
from tests.support import kill_session, wait_until

BIN = Path(sys.executable).parent
STORE_BYTES = 150_000_000


@dataclass(frozen=True)
class RayHead:
    """A cluster of one node that requires a token.

    Attributes:
        url: URL of the dashboard.
        address: Address to which drivers connect.
        folder: Folder of Ray's sessions.
        token_file: File that holds the token.
    """

    url: str
    address: str
    folder: Path
    token_file: Path

    @property
    def env(self) -> dict[str, str]:
        """Environment variables of a process that connects to the cluster."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token_file)}

    @property
    def working_dirs(self) -> list[Path]:
        """Working directories of submitted jobs, as unpacked on the node."""
        found = self.folder.glob("session_2*/runtime_resources/working_dir_files/_ray_pkg_*")
        return [each for each in found if each.is_dir()]

    def get_json(self, path: str) -> Any:
        """Return the dashboard's answer to a GET request."""
        bearer = f"Bearer {self.token_file.read_text()}"
        request = urllib.request.Request(self.url + path, headers={"Authorization": bearer})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())


@contextlib.contextmanager
def ray_head(env: Mapping[str, str], num_cpus: int = 2) -> Iterator[RayHead]:
    """Run a Ray head until the block ends; afterwards its processes and files are gone.

    Args:
        env: Environment variables of its processes, and so of all jobs.
        num_cpus: Number of CPUs that Ray may schedule.
    """
    # In pytest's folder, the paths of Ray's sockets would be too long.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    token_file, port, log = folder / "token", free_port(), folder / "head.log"
    token_file.touch(mode=0o600)
    token_file.write_text(secrets.token_hex(32))
    gcs_port = free_port()
    head = RayHead(f"http://127.0.0.1:{port}", f"127.0.0.1:{gcs_port}", folder, token_file)
    options = {
        "port": gcs_port,
        "dashboard-host": "127.0.0.1",
        "dashboard-port": port,
        "dashboard-agent-listen-port": free_port(),
        "ray-client-server-port": free_port(),
        "min-worker-port": 0,  # the default range is used by every other cluster here
        "max-worker-port": 0,
        "include-dashboard": "true",
        "num-cpus": num_cpus,
        "num-gpus": 0,
        "object-store-memory": STORE_BYTES,
        "temp-dir": folder,
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    variables = {"PATH": os.pathsep.join([str(BIN), os.environ["PATH"]]), **head.env, **env}
    with log.open("w") as file:
        process = subprocess.Popen(
            [BIN / "ray", "start", "--head", "--block", "--disable-usage-stats", *flags],
            env=os.environ | variables,
            stdout=file,
            stderr=file,
            text=True,
            start_new_session=True,
        )
    try:
        wait_until(lambda: _serves_jobs(head) or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield head
    finally:
        kill_session(process)
        wait_until(lambda: not _kill_processes(str(folder)))
        shutil.rmtree(folder, ignore_errors=True)


def _serves_jobs(head: RayHead) -> bool:
    try:
        return head.get_json("/api/jobs/") == []
    except OSError:
        return False


def _kill_processes(folder: str) -> list[psutil.Process]:
    """Kill all processes whose command line has the folder in it, and return them."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and folder in " ".join(process.cmdline()):
                process.kill()
                found.append(process)
    return found

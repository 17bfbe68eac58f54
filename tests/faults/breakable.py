"""A Ray cluster of several nodes on this machine, whose parts tests can break.

Its GPUs exist only for Ray's scheduling. A module that replaces `soundfile` in the decoders causes
the faults that `BreakableCluster.set_faults` sets by file name, such as the death of its process.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray._private.node import Node
from ray._private.utils import write_ray_address
from ray.cluster_utils import Cluster

from tests.servers import free_port
from tests.support import children

# Ray's settings that detect the loss of a node within seconds instead of half a minute.
FAST_NODE_FAILURE_DETECTION = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 3,
}
STORE_BYTES = 150 << 20

# Module `soundfile` of the decoders. The first decoder that meets `wait` writes its process id to a
# file and waits to be killed; decoders that meet it later go on.
SOUNDFILE_MODULE = """
import importlib.machinery, importlib.util, json, os, pathlib, signal, sys, time

import numpy

here = pathlib.Path(__file__).resolve().parent
spec = importlib.machinery.PathFinder.find_spec(
    "soundfile", [p for p in sys.path if pathlib.Path(p).resolve() != here]
)
real = importlib.util.module_from_spec(spec)
spec.loader.exec_module(real)
globals().update({name: value for name, value in vars(real).items() if name[:2] != "__"})


def fault_of(name):
    return json.loads((here / "faults.json").read_text()).get(name)


class SoundFile(real.SoundFile):
    def __init__(self, file, *args, **options):
        name = ""
        if isinstance(file, int):
            name = os.path.basename(os.readlink(f"/proc/self/fd/{file}"))
        self.fault = fault_of(name)
        if self.fault == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.fault == "sigkill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "wait":
            try:
                (here / "waiting").open("x").write(f"{os.getpid()} {name}")
                while fault_of(name) == "wait":
                    time.sleep(0.05)
            except FileExistsError:
                pass
        super().__init__(file, *args, **options)

    def read(self, *args, **options):
        if self.fault == "memory":
            numpy.ones(1 << 50)
        return super().read(*args, **options)
"""


class BreakableCluster:
    """A head node without CPU and GPU, and nodes with a CPU and a GPU each.

    Args:
        n_nodes: Number of nodes besides the head.
        site: Folder for the module that replaces `soundfile`.
        env: Environment variables of all processes of the cluster.
    """

    def __init__(self, n_nodes: int, site: Path, env: Mapping[str, str] | None = None) -> None:
        self._site = site
        self._env = env or {}
        (site / "soundfile.py").write_text(SOUNDFILE_MODULE)
        self.set_faults({})
        self._cluster = Cluster()
        # In pytest's folder, the paths of Ray's sockets would be too long.
        self._folder = tempfile.mkdtemp(prefix="ray-")
        self._start(
            temp_dir=self._folder,
            num_cpus=0,
            include_dashboard=True,
            dashboard_port=0,
            dashboard_agent_listen_port=free_port(),  # the default is used by every cluster here
            _system_config=FAST_NODE_FAILURE_DETECTION,
        )
        # A job joins the cluster that this file in Ray's folder names. All clusters of this machine
        # share Ray's default folder, where the file names the cluster that was started last.
        write_ray_address(self.address, self._folder)
        for _ in range(n_nodes):
            self.add_node()

    @property
    def address(self) -> str:
        return self._cluster.address

    @property
    def dashboard(self) -> str:
        """URL of the dashboard, to which jobs are submitted."""
        return f"http://{self._cluster.webui_url}"

    @property
    def nodes(self) -> list[Node]:
        """Nodes that can be removed, which are all but the head."""
        return sorted(self._cluster.worker_nodes, key=lambda node: node.unique_id)

    def set_faults(self, by_name: Mapping[str, str]) -> None:
        """Set the faults of decoders by file name: segfault, sigkill, wait or memory."""
        (self._site / "waiting").unlink(missing_ok=True)
        (self._site / "new.json").write_text(json.dumps(by_name))
        (self._site / "new.json").replace(self._site / "faults.json")

    def find_waiting_decoder(self) -> tuple[psutil.Process, str] | None:
        """Return the decoder that waits at a `wait` fault, and the name of its file."""
        try:
            pid, name = (self._site / "waiting").read_text().split()
            return psutil.Process(int(pid)), name
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return None

    def actors(self) -> list[psutil.Process]:
        return children(os.getpid(), "ray::EmbedActor")

    def find_node(self, pid: int) -> Node:
        """Return the node of a worker process."""
        above = {each.pid for each in psutil.Process(pid).parents()}
        return next(node for node in self.nodes if _raylet_pid(node) in above)

    def add_node(self) -> None:
        self._start(num_cpus=1, num_gpus=1)

    def remove_node(self, node: Node) -> None:
        """Kill all processes of a node at once, as if the machine had lost its power."""
        self._cluster.remove_node(node, allow_graceful=False)

    def count_in_logs(self, text: str) -> int:
        """Count the occurrences of a text in the logs of Ray's processes, workers and drivers."""
        logs = Path(self._cluster.head_node.get_logs_dir_path())
        files = [each for each in logs.iterdir() if each.is_file()]
        return sum(each.read_bytes().count(text.encode()) for each in files)

    def close(self) -> None:
        self._cluster.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, **options: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(self._site), prepend=os.pathsep)
            for name, value in self._env.items():
                patch.setenv(name, value)
            self._cluster.add_node(object_store_memory=STORE_BYTES, **options)


def _raylet_pid(node: Node) -> int:
    return node.all_processes["raylet"][0].process.pid


@contextlib.contextmanager
def breakable_cluster(
    n_nodes: int, site: Path, env: Mapping[str, str] | None = None
) -> Iterator[BreakableCluster]:
    cluster = BreakableCluster(n_nodes, site, env)
    try:
        yield cluster
    finally:
        cluster.close()

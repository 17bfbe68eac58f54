"""The scheduler backs off from a node with a full disk, and other nodes embed its shards."""

import contextlib
import io

import pytest
import ray
from ray.cluster_utils import Cluster
from rich.console import Console

from jobs.bench.overhead import _SPEC as SPEC
from jobs.cluster import pool_size
from jobs.cluster.connection import ClusterOptions
from jobs.cluster.driver import run_on_ray
from jobs.runtime.monitor import Monitor
from jobs.runtime.run_log import RunLog
from jobs.runtime.stop_signals import StopRequest
from pipeline.clips import ClipRef
from pipeline.errors import HostError
from pipeline.planning.plan import plan_shards
from pipeline.table.store.local import LocalStore
from pipeline.table.table import Table
from tests.faults.full_disk import FULL_DISK_VARIABLE, RunWithFullDisks

N_SHARDS = 12
pytestmark = pytest.mark.timeout(300)


@contextlib.contextmanager
def run_cluster(*are_full):
    """Run a cluster with a node for each argument, which says whether its disk is full."""
    cluster = Cluster()
    for is_full in are_full:
        with pytest.MonkeyPatch.context() as patch:
            if is_full:
                patch.setenv(FULL_DISK_VARIABLE, "yes")
            cluster.add_node(num_cpus=2, object_store_memory=150 << 20)
    try:
        yield cluster.address
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="module")
def half_full_cluster():
    with run_cluster(True, False) as address:
        yield address


@pytest.fixture
def embed(tmp_path, monkeypatch):
    """Function that runs all shards on a cluster; returns commits, failed shards and the log."""
    monkeypatch.setattr(pool_size, "FIRST_BACKOFF_S", 0.5)

    def run(address, actors="auto"):
        clips = [ClipRef(f"hollow://{n:03}", "0", carried=("16000",)) for n in range(N_SHARDS)]
        shards = plan_shards(clips, SPEC.digest, 1)
        table = Table.open_or_create(LocalStore(tmp_path / "table"), SPEC)
        calls = tmp_path / "calls"
        null_run = RunWithFullDisks(table.store.location, SPEC, {}, window_s=0.05, calls=str(calls))
        log = io.StringIO()
        with Monitor(RunLog(Console(file=log, width=200)), len(shards), len(clips)) as monitor:
            run_on_ray(null_run, shards, monitor, ClusterOptions(address, actors), StopRequest())
        return len(table.commits.ids()), monitor.failed, log.getvalue()

    return run


@pytest.mark.parametrize("actors", ["auto", pytest.param(1, marks=pytest.mark.slow)])
def test_other_nodes_embed_the_shards_of_a_node_with_a_full_disk(half_full_cluster, embed, actors):
    n_committed, failed, log = embed(half_full_cluster, actors)
    assert (n_committed, failed) == (N_SHARDS, [])
    # A single actor may have started on the other node.
    is_reported = "is excluded for a while: no space left in /tmp (TMPDIR) (on " in log
    assert is_reported or actors == 1


def test_run_ends_if_every_node_has_a_full_disk(embed):
    message = r"no node is left that can embed: no space left in /tmp"
    with run_cluster(True) as address, pytest.raises(HostError, match=message):
        embed(address)

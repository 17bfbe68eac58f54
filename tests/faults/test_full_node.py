"""A node whose disk is full is left alone, and its shards are done by the others."""

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
from tests.faults.full_disk import MARK, RunWithFullDisks

N_SHARDS = 12
pytestmark = pytest.mark.timeout(300)


@contextlib.contextmanager
def full_nodes(*are_full):
    """A cluster of nodes whose disks are full or not; the first of them is the head."""
    cluster = Cluster()
    for is_full in are_full:
        with pytest.MonkeyPatch.context() as patch:
            if is_full:
                patch.setenv(MARK, "yes")
            cluster.add_node(num_cpus=2, object_store_memory=150 << 20)
    try:
        yield cluster.address
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="module")
def one_is_full():
    with full_nodes(True, False) as address:
        yield address


@pytest.fixture
def embed(tmp_path, monkeypatch):
    """Runs all shards on a cluster; returns how many were committed, which failed, and the log."""
    monkeypatch.setattr(pool_size, "FIRST_REST_S", 0.5)

    def run(address, actors="auto"):
        clips = [ClipRef(f"hollow://{n:03}", "0", carried=("16000",)) for n in range(N_SHARDS)]
        shards = plan_shards(clips, SPEC.digest, 1)
        table = Table.open_or_create(LocalStore(tmp_path / "table"), SPEC)
        calls = tmp_path / "calls"
        hollow = RunWithFullDisks(table.store.location, SPEC, {}, window_s=0.05, calls=str(calls))
        told = io.StringIO()
        with Monitor(RunLog(Console(file=told, width=200)), len(shards), len(clips)) as monitor:
            run_on_ray(hollow, shards, monitor, ClusterOptions(address, actors), StopRequest())
        return len(table.commits.ids()), monitor.failed, told.getvalue()

    return run


@pytest.mark.parametrize("actors", ["auto", pytest.param(1, marks=pytest.mark.slow)])
def test_shards_of_a_node_whose_disk_is_full_are_done_by_others(one_is_full, embed, actors):
    n_committed, failed, told = embed(one_is_full, actors)
    assert (n_committed, failed) == (N_SHARDS, [])
    # A single actor may have begun on the other node.
    is_told = "is left alone for a while: no space left in /tmp (TMPDIR) (on " in told
    assert is_told or actors == 1


def test_run_ends_where_every_node_has_a_full_disk(embed):
    said = r"no node is left that can embed: no space left in /tmp"
    with full_nodes(True) as address, pytest.raises(HostError, match=said):
        embed(address)

"""Tests of `ActorPool` on a cluster whose GPUs exist only for Ray's scheduling."""

import io
import time
from collections import Counter

import pytest
import ray
from ray.cluster_utils import Cluster
from rich.console import Console

from jobs.cluster import actor_pool
from jobs.cluster.actor_plan import actor_plan
from jobs.cluster.actor_pool import ActorPool
from jobs.cluster.connection import ClusterOptions
from jobs.cluster.pending_calls import PendingCalls
from jobs.cluster.pool_size import PoolLimits
from jobs.runtime.run_log import RunLog
from jobs.settings.config import EmbedConfig
from jobs.settings.table_spec import table_spec
from jobs.worker.run_model import RunSpec
from models.checkpoints.state_dict import load_weights
from pipeline.errors import PipelineError, UsageError
from pipeline.io.storage import Storage
from pipeline.table.store.open_store import open_store
from pipeline.table.table import Table
from tests.support import QUICK_ARCH, QUICK_SPEC

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("quick_arch")]
N_SHARDS = 100


@pytest.fixture
def cluster():
    """A cluster of one CPU node, to which the driver is connected."""
    cluster = Cluster()
    cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def add_gpu_node(cluster, n_gpus=1):
    return cluster.add_node(num_cpus=1, num_gpus=n_gpus, object_store_memory=100 << 20)


class PoolHarness:
    """An actor pool and the log lines it wrote."""

    def __init__(self, root, options, weights="random:0"):
        config = EmbedConfig(arch=QUICK_ARCH, weights=weights)
        spec = table_spec(config, {QUICK_ARCH: load_weights("random:0", QUICK_SPEC)})
        Table.open_or_create(open_store(str(root / "table"), Storage()), spec)
        self.calls, self.output = PendingCalls(), io.StringIO()
        log = RunLog(Console(file=self.output, width=1000))
        self.plan = actor_plan(options, N_SHARDS)
        run = RunSpec(str(root / "table"), spec, {QUICK_ARCH: weights})
        self.pool = ActorPool(run, self.plan, self.calls, lambda _: None, log)

    def run_until(self, condition, timeout_s=120.0):
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, (
                self.pool.ready,
                self.pool.starting,
                self.log_lines,
            )
            self.pool.grow(N_SHARDS)
            self.calls.wait(0.1)

    @property
    def log_lines(self):
        return self.output.getvalue().splitlines()

    def nodes(self):
        return sorted(actor.node for actor in self.pool.ready)


def test_pool_scales_with_the_cluster_and_backs_off_from_a_failing_node(cluster, tmp_path):
    one = add_gpu_node(cluster).node_id
    harness = PoolHarness(tmp_path, ClusterOptions(cluster.address, "auto"))
    harness.run_until(lambda: harness.pool.ready and harness.pool.starting)
    assert harness.nodes() == [one]
    assert [actor.node for actor in harness.pool.starting] == [
        ""
    ]  # it makes the autoscaler add a GPU
    other = add_gpu_node(cluster).node_id
    both = sorted([one, other])
    harness.run_until(lambda: harness.nodes() == both and len(harness.pool.starting) == 2)

    def kill_actor_on(node):
        actor = next(actor for actor in harness.pool.ready if actor.node == node)
        harness.pool.remove_dead(actor, "died")

    kill_actor_on(one)
    harness.run_until(lambda: harness.nodes() == both)  # a single death is tolerated
    kill_actor_on(one)
    harness.pool.grow(N_SHARDS)
    assert {actor.excluded_nodes for actor in harness.pool.starting} == {frozenset([one])}
    kill_actor_on(other)
    harness.run_until(lambda: other in harness.nodes())  # although `one` has a free GPU as well
    harness.run_until(lambda: harness.nodes() == both)  # the backoff of `one` is over
    harness.pool.kill_all()
    assert not harness.pool.ready + harness.pool.starting


def test_plan_without_gpus_has_one_actor_per_node_with_cpus(cluster, tmp_path):
    cluster.add_node(num_cpus=0, object_store_memory=100 << 20)
    cluster.add_node(num_cpus=3, object_store_memory=100 << 20)
    plan = actor_plan(ClusterOptions(cluster.address, "auto"), N_SHARDS)
    assert (plan.size, plan.gpus, plan.n_threads) == (PoolLimits(2), 0, 1)
    assert sorted(plan.nodes().values()) == [False, True, True]
    with pytest.raises(UsageError, match="--gpus-per-actor 1 takes 1 GPU, and this"):
        actor_plan(ClusterOptions("local", "auto", 1.0), N_SHARDS)


def test_cpu_actors_are_spread_over_all_nodes(cluster, tmp_path):
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    nodes = {node["NodeID"] for node in ray.nodes()}
    harness = PoolHarness(tmp_path, ClusterOptions(cluster.address, 4))
    harness.run_until(lambda: len(harness.pool.ready) == 4)
    found = Counter(harness.nodes())
    assert set(found) == nodes
    assert max(found.values()) <= 2
    harness.pool.kill_all()


def test_pool_waits_for_a_missing_gpu_and_logs_it_once(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(actor_pool, "REPORT_NO_ROOM_S", 0.2)
    harness = PoolHarness(tmp_path, ClusterOptions(cluster.address, 3, 0.5))
    harness.run_until(lambda: harness.log_lines)
    assert harness.log_lines == [
        "no node has room for an actor with 0.5 GPU (--gpus-per-actor) yet; waiting for one"
    ]
    add_gpu_node(cluster)
    harness.run_until(lambda: len(harness.pool.ready) == 2)  # there is no room for a third actor
    assert len(harness.log_lines) == 1
    harness.pool.kill_all()


def test_pool_that_cannot_start_raises_the_reason(cluster, tmp_path):
    harness = PoolHarness(tmp_path, ClusterOptions(cluster.address, "auto"), weights="random:1")
    with pytest.raises(PipelineError, match=r"failed to start: weights 'random:1' .* have digest"):
        harness.run_until(lambda: harness.pool.ready)
    assert len(harness.log_lines) == 2

"""The actors of a run follow the GPUs of a cluster, which only Ray believes in."""

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
    """A node of CPUs, with the driver on it."""
    cluster = Cluster()
    cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def gpu_node(cluster, n_gpus=1):
    return cluster.add_node(num_cpus=1, num_gpus=n_gpus, object_store_memory=100 << 20)


class Yard:
    """A crew, and what it told."""

    def __init__(self, root, options, weights="random:0"):
        config = EmbedConfig(arch=QUICK_ARCH, weights=weights)
        spec = table_spec(config, {QUICK_ARCH: load_weights("random:0", QUICK_SPEC)})
        Table.open_or_create(open_store(str(root / "table"), Storage()), spec)
        self.answers, self.ready, told = PendingCalls(), [], Console(file=io.StringIO(), width=1000)
        self.told = told.file
        self.plan = actor_plan(options, N_SHARDS)
        run = RunSpec(str(root / "table"), spec, {QUICK_ARCH: weights})
        self.crew = ActorPool(run, self.plan, self.answers, self.ready.append, RunLog(told))

    def until(self, condition, timeout_s=120.0):
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, (self.crew.ready, self.crew.starting, self.notes)
            self.crew.grow(N_SHARDS)
            self.answers.wait(0.1)

    @property
    def notes(self):
        return self.told.getvalue().splitlines()

    def nodes(self):
        return sorted(actor.node for actor in self.crew.ready)


def test_the_crew_grows_with_the_cluster_and_keeps_off_a_node_where_actors_die(cluster, tmp_path):
    one = gpu_node(cluster).node_id
    yard = Yard(tmp_path, ClusterOptions(cluster.address, "auto"))
    yard.until(lambda: yard.crew.ready and yard.crew.starting)
    assert yard.nodes() == [one]
    assert [actor.node for actor in yard.crew.starting] == [""]  # asks for one more GPU
    other = gpu_node(cluster).node_id
    both = sorted([one, other])
    yard.until(lambda: yard.nodes() == both and len(yard.crew.starting) == 2)

    def lose(node):
        actor = next(actor for actor in yard.crew.ready if actor.node == node)
        yard.crew.remove_dead(actor, "died")

    lose(one)
    yard.until(lambda: yard.nodes() == both)  # that may happen
    lose(one)
    yard.crew.grow(N_SHARDS)
    assert {actor.excluded_nodes for actor in yard.crew.starting} == {frozenset([one])}
    lose(other)
    yard.until(lambda: other in yard.nodes())  # though `one` is free as well
    yard.until(lambda: yard.nodes() == both)  # it has rested
    yard.crew.kill_all()
    assert not yard.crew.ready + yard.crew.starting


def test_without_gpus_there_is_one_actor_a_node_that_has_cpus(cluster, tmp_path):
    cluster.add_node(num_cpus=0, object_store_memory=100 << 20)
    cluster.add_node(num_cpus=3, object_store_memory=100 << 20)
    plan = actor_plan(ClusterOptions(cluster.address, "auto"), N_SHARDS)
    assert (plan.size, plan.gpus, plan.n_threads) == (PoolLimits(2), 0, 1)
    assert sorted(plan.nodes().values()) == [False, True, True]
    with pytest.raises(UsageError, match="--gpus-per-actor 1 takes 1 GPU, and this"):
        actor_plan(ClusterOptions("local", "auto", 1.0), N_SHARDS)


def test_actors_without_gpus_are_one_on_each_node(cluster, tmp_path):
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    nodes = {node["NodeID"] for node in ray.nodes()}
    yard = Yard(tmp_path, ClusterOptions(cluster.address, 4))
    yard.until(lambda: len(yard.crew.ready) == 4)
    found = Counter(yard.nodes())
    assert set(found) == nodes
    assert max(found.values()) <= 2
    yard.crew.kill_all()


def test_a_gpu_that_is_not_there_yet_is_waited_for_and_it_is_told(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(actor_pool, "REPORT_NO_ROOM_S", 0.2)
    yard = Yard(tmp_path, ClusterOptions(cluster.address, 3, 0.5))
    yard.until(lambda: yard.notes)
    assert yard.notes == [
        "no node has room for an actor with 0.5 GPU (--gpus-per-actor) yet; waiting for one"
    ]
    gpu_node(cluster)
    yard.until(lambda: len(yard.crew.ready) == 2)  # there is no room for the third
    assert len(yard.notes) == 1
    yard.crew.kill_all()


def test_a_crew_that_cannot_start_says_why(cluster, tmp_path):
    yard = Yard(tmp_path, ClusterOptions(cluster.address, "auto"), weights="random:1")
    with pytest.raises(PipelineError, match=r"failed to start: weights 'random:1' .* have digest"):
        yard.until(lambda: yard.crew.ready)
    assert len(yard.notes) == 2

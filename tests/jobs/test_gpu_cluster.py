"""A cluster of GPUs that only Ray believes in: who gets which, and where the decoders run."""

import json

import pytest
import ray
from ray.cluster_utils import Cluster

from jobs.connect import ClusterOptions, actor_plan
from pipeline.errors import UsageError
from tests.support import FAST, passtream, verified, write_tones

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def cluster():
    """A node with two GPUs and no CPU to decode on, and one with two CPUs."""
    cluster = Cluster()
    cluster.add_node(num_cpus=0, num_gpus=2, object_store_memory=200 << 20)
    cluster.add_node(num_cpus=2, object_store_memory=200 << 20)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


def writers(table):
    commits = (table / "_passtream" / "commits").iterdir()
    return [json.loads(commit.read_text())["writer"] for commit in commits]


def test_each_actor_has_its_gpu_and_decoders_run_elsewhere(cluster, tmp_path):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    corpus.mkdir()
    write_tones(corpus, [1.0] * 40)
    options = (*FAST, "--shard-clips", 2, "--address", cluster.address)
    done = passtream("embed", corpus, table, *options)
    assert done.returncode == 0, done.stderr
    assert verified(table).shards == 20
    # The second actor may be ready when the first has done its share, but not the rest.
    found = {(writer["pid"], writer["gpus"]) for writer in writers(table)}
    assert sorted(gpus for _, gpus in found) == ["0", "1"]


def test_the_plan_follows_the_gpus(cluster):
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        plan = actor_plan(ClusterOptions("auto", "auto"), 100)
        assert (plan.n_actors, plan.n_threads, plan.n_slots) == (2, 1, 2)
        assert actor_plan(ClusterOptions("auto", "auto", 0.25), 100).n_actors == 8
        assert actor_plan(ClusterOptions("auto", "auto", 2), 100).n_actors == 1
        assert actor_plan(ClusterOptions("auto", "auto"), 1).n_actors == 1
        with pytest.raises(UsageError, match=r"--actors 3 with .*the 2 GPUs"):
            actor_plan(ClusterOptions("auto", 3), 100)
        with pytest.raises(UsageError, match="--gpus-per-actor 4 takes more"):
            actor_plan(ClusterOptions("auto", "auto", 4), 100)
    finally:
        ray.shutdown()

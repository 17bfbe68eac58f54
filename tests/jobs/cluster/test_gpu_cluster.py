"""Tests on a cluster whose GPUs exist only for Ray's scheduling: placement, routes and metrics."""

import json
import os
import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq
import pytest
import ray
from ray.cluster_utils import Cluster

from jobs.cluster.actor_plan import actor_plan
from jobs.cluster.connection import ClusterOptions
from jobs.cluster.pool_size import PoolLimits
from models.archs import DEFAULT_ARCH
from pipeline.errors import UsageError
from tests.servers import free_port
from tests.support import ONE_BLOCK_EACH, QUICK, assert_verified, passtream, wait_until, write_tones

pytestmark = pytest.mark.timeout(300)

METRICS_PORT = free_port()
EXPORTED = (
    *("shards_total", "clips_total", "windows_total", "audio_seconds_total"),
    *("stage_seconds_total decode", "stage_seconds_total compute", "stage_seconds_total write"),
    *("model_seconds_total idle", "model_seconds_total compute", "call_windows_count"),
    "open_shards",
)


@pytest.fixture(scope="module")
def cluster():
    """A cluster of a node with two GPUs and no CPUs, and a node with two CPUs, which decodes."""
    os.environ |= ONE_BLOCK_EACH
    cluster = Cluster()
    cluster.add_node(
        num_cpus=0,
        num_gpus=2,
        object_store_memory=200 << 20,
        metrics_export_port=METRICS_PORT,
        _system_config={"metrics_report_interval_ms": 200},
    )
    cluster.add_node(num_cpus=2, object_store_memory=200 << 20)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()
    os.environ.pop(*ONE_BLOCK_EACH)


def read_writers(table):
    commits = (table / "_passtream" / "commits").iterdir()
    return [json.loads(commit.read_text())["writer"] for commit in commits]


def fetch_metrics():
    """Return passtream's metrics that the first node exports to Prometheus, summed by tag."""
    with urllib.request.urlopen(f"http://127.0.0.1:{METRICS_PORT}/metrics", timeout=10) as reply:
        lines = re.findall(r"^ray_passtream_(\w+)\{([^}]*)\} (\S+)$", reply.read().decode(), re.M)
    found = {}
    for name, tags, value in lines:
        tag = re.search(r'(?:error_class|stage|state)="(\w+)"', tags)
        key = f"{name} {tag[1]}" if tag else name
        found[key] = found.get(key, 0.0) + float(value)
    return found


def test_each_actor_has_its_own_gpu_and_metrics_are_exported(cluster, tmp_path):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    corpus.mkdir()
    write_tones(corpus, [1.0] * 40)
    (corpus / "broken.wav").write_bytes(b"no audio")
    options = (*QUICK, "--shard-clips", 2, "--address", cluster.address)
    seen = {}

    def has_seen_all():
        seen.update(fetch_metrics())
        return run.done() or all(seen.get(name) for name in EXPORTED)

    with ThreadPoolExecutor(1) as threads:
        run = threads.submit(passtream, "embed", corpus, table, *options)
        wait_until(has_seen_all, timeout_s=240)
    done = run.result()
    assert done.returncode == 0, done.stderr
    assert assert_verified(table).shards == 21
    # The first actor takes only its share of the shards, even if the second is ready later.
    found = {(writer["pid"], writer["gpus"]) for writer in read_writers(table)}
    assert sorted(gpus for _, gpus in found) == ["0", "1"]
    assert [name for name in EXPORTED if not seen.get(name)] == []
    assert seen["clips_total"] <= 41
    assert seen["windows_total"] <= seen["clips_total"]


def test_clips_are_routed_by_length_in_actors_that_share_a_gpu(cluster, tmp_path):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_tones(corpus, [1.0, 11.0, 21.0])
    options = ("--long-clips", "route", "--weights", "random:0", "--gpus-per-actor", 0.5)
    done = passtream(
        *("embed", corpus, table, *options, "--address", cluster.address), env=ONE_BLOCK_EACH
    )
    assert done.returncode == 0, done.stderr
    assert assert_verified(table).clips == 3
    rows = pq.read_table(table / "clips", columns=["arch", "n_windows"]).to_pylist()
    archs = (DEFAULT_ARCH, "passt_20sec", "passt_30sec")
    assert rows == [{"arch": arch, "n_windows": 1} for arch in archs]


def test_plan_follows_the_gpus_of_the_cluster(cluster):
    ray.init(address=cluster.address, log_to_driver=False)

    def plan(n_shards, *options):
        return actor_plan(ClusterOptions(cluster.address, *options), n_shards)

    try:
        found = plan(100, "auto")
        assert (found.size, found.gpus, found.n_threads) == (PoolLimits(2, grows=True), 1, 1)
        assert [found.n_slots(n) for n in (1, 2)] == [2, 2]  # two CPUs decode
        assert sorted(found.nodes().values()) == [False, True]
        assert plan(100, "auto", 0.25).size.n_initial == 8
        assert plan(100, "auto", 2).size.n_initial == 1
        assert plan(1, "auto").size == PoolLimits(1, grows=True)
        assert plan(100, 3).size == PoolLimits(3)
        assert plan(100, "auto", 0).size == PoolLimits(1)
        with pytest.raises(UsageError, match="precision int8 is for CPUs"):
            actor_plan(ClusterOptions(cluster.address, "auto"), 1, "int8")
    finally:
        ray.shutdown()

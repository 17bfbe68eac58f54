"""Tests of `passtream bench overhead` and `job`: they run and print tables, at any speed."""

import re
import subprocess
import sys

import pytest

from jobs.bench.job import run_job_bench
from jobs.bench.overhead import run_overhead_bench
from pipeline.errors import UsageError
from tests.support import FAST_ARCH, QUICK_ARCH, passtream

# Ray runs in another process, because it closes files only when they are garbage-collected.
RAY_SCRIPT = """
from ray.cluster_utils import Cluster

cluster = Cluster()
cluster.add_node(num_cpus=2, object_store_memory=400 << 20)
print("address", cluster.address, flush=True)
input()
cluster.shutdown()
"""


@pytest.fixture(scope="module")
def address():
    """Address of a Ray with two CPUs, shared by all tests of the module."""
    command = [sys.executable, "-c", RAY_SCRIPT]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield next(line.split()[1] for line in process.stdout if line.startswith("address"))
        process.communicate("\n")


@pytest.mark.slow
def test_overhead_bench_reports_throughput_and_driver_cost(address):
    run = passtream(
        *("bench", "overhead", "--address", address),
        *("--shards", "2", "--repeats", "1", "--pace", "180", "--pace-s", "1"),
    )
    assert run.returncode == 0, run.stderr
    assert "ray 2." in run.stdout.splitlines()[0]
    fast = re.search(
        r"\| 2 \| 0.7 \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) % \|", run.stdout
    )
    assert fast, run.stdout
    assert all(int(value) > 0 for value in fast.groups())
    assert fast[6] == "100"  # no window is copied out of the object store
    slow = re.findall(r"\| (lines|a bar) \| \d+ \| \d+ \| ([\d.]+) \| ([\d.]+) \|", run.stdout)
    assert [name for name, *_ in slow] == ["lines", "a bar"]
    assert all(float(share) > 0 for *_, share in slow)


@pytest.mark.slow
def test_job_bench_compares_the_job_with_the_bare_model(address):
    run = passtream(
        *("bench", "job", "--address", address, "--arch", QUICK_ARCH),
        *("--windows", "2", "--shard-clips", "1", "--repeats", "1"),
    )
    assert run.returncode == 0, run.stderr
    row = rf"\| {QUICK_ARCH} \| fp32 \| 2 \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|"
    (values,) = re.findall(row, run.stdout)
    bare, job, ratio, lowest = map(float, values)
    assert ratio == lowest == pytest.approx(job / bare, abs=0.01)


@pytest.mark.parametrize(
    ("bench", "changes", "message"),
    [
        (run_overhead_bench, {"n_shards": 0}, "shards and repeats must be at least 1"),
        (run_overhead_bench, {"pace_s": 0.1}, "and pace x pace-s enough for 2 shards"),
        (run_job_bench, {"n_windows": 1}, "windows must be at least 2"),
        (run_job_bench, {"precision": "fp8"}, "precision must be one of"),
        (run_job_bench, {"arch": "passt_xl"}, "unknown arch 'passt_xl'"),
    ],
)
def test_invalid_options_are_refused(bench, changes, message):
    settings = {
        run_overhead_bench: {"n_shards": 1, "repeats": 1, "pace": 100.0, "pace_s": 5.0},
        run_job_bench: {"arch": FAST_ARCH, "precision": "fp32", "n_windows": 2}
        | {"shard_clips": 1, "repeats": 1},
    }
    with pytest.raises(UsageError, match=message):
        bench(**settings[bench] | changes)

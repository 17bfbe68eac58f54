"""GPU tests of the engine: CUDA graphs, streams, memory, and processes that share a GPU.

Like `test_gpu.py`, they need only torch, torchaudio, numpy and pytest.
"""

import contextlib
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from models.archs import ARCHS, DEFAULT_ARCH
from models.checkpoints.state_dict import random_state_dict
from models.inference.embedder import Embedder
from models.inference.engine import MAX_PACKS_IN_FLIGHT
from tests.models.on_gpu import (
    DEVICE,
    EVERY_PRECISION,
    RAGGED,
    assert_close,
    needs_cuda,
    needs_device,
)

pytestmark = [
    pytest.mark.gpu,
    needs_device,
]
SPEC = ARCHS[DEFAULT_ARCH]
WINDOW = 320_000
ROOT = Path(__file__).parents[2]
SLACK_BYTES = 64 << 20
PROCESS_TIMEOUT_S = 60


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache, so that batch sizes are measured again and not kept."""
    monkeypatch.setenv("PASSTREAM_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def weights():
    return random_state_dict(SPEC, 0)


@pytest.fixture(scope="module")
def clips(noise):
    return [noise(n_samples, seed) for seed, n_samples in enumerate(RAGGED)]


@contextlib.contextmanager
def synchronizing_raises():
    """Raise an error if the host waits for the device."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the first call warns that the mode is a beta feature
            torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_packs_copied_during_other_forwards_are_correct(weights, noise):
    windows = [noise(160_000 + 320 * seed, seed) for seed in range(48)]
    embedder = Embedder(SPEC, weights, DEVICE, max_tokens=1190)
    one_by_one = [embedder.embed([window]).features[0] for window in windows]
    for _ in range(3):
        np.testing.assert_allclose(embedder.embed(windows).features, one_by_one, rtol=0, atol=1e-4)


@EVERY_PRECISION
def test_captured_forwards_equal_plain_forwards(precision, weights, noise):
    embedder = Embedder(SPEC, weights, DEVICE, 7 * 1190, precision)
    clip = noise(WINDOW * 3)
    windows = [clip[begin : begin + WINDOW] for begin in range(0, 2 * WINDOW, 40_000)]
    windows += [noise(n, n) for n in RAGGED]
    expected = embedder.embed(windows)
    graphed = embedder.engine.capture(WINDOW)
    assert graphed.sizes == [7, 3, 1]
    for _ in range(2):
        for ours, theirs in zip(embedder.embed(windows), expected, strict=True):
            assert_close(ours, theirs, precision)


@needs_cuda
def test_warm_up_measures_the_batch_size_once_and_then_reads_it_from_the_cache(weights, noise):
    first = Embedder(SPEC, weights, DEVICE, precision="bf16")
    found = first.warm_up(WINDOW)
    assert found.batch_windows >= 1
    assert not found.is_remembered
    assert first.engine.graphed.sizes[0] == found.batch_windows
    second = Embedder(SPEC, weights, DEVICE, precision="bf16")
    again = second.warm_up(WINDOW)
    assert again.is_remembered
    assert again.batch_windows == found.batch_windows
    windows = [noise(WINDOW, seed) for seed in range(5)]
    for ours, theirs in zip(second.embed(windows), first.embed(windows), strict=True):
        assert_close(ours, theirs, "bf16")


@needs_cuda
@pytest.mark.parametrize("is_captured", [False, True])
def test_a_call_never_waits_for_the_device(is_captured, weights, clips, noise):
    embedder = Embedder(SPEC, weights, DEVICE, 4 * 1190, "bf16")
    windows = [torch.from_numpy(noise(WINDOW, seed)) for seed in range(4 * MAX_PACKS_IN_FLIGHT)]
    windows += [torch.from_numpy(clip) for clip in clips]
    with torch.inference_mode():
        if is_captured:
            embedder.engine.capture(WINDOW)
        embedder.engine(windows)
        torch.cuda.synchronize()
        with synchronizing_raises():
            embedder.engine(windows)
        torch.cuda.synchronize()


def test_several_calls_may_be_in_flight(weights, noise):
    embedder = Embedder(SPEC, weights, DEVICE, 4 * 1190, "bf16")
    calls = [[noise(WINDOW, 10 * call + i) for i in range(6)] for call in range(4)]
    expected = [embedder.embed(windows).features for windows in calls]
    pending = []
    for windows in calls:
        pending.append(embedder.begin(windows))
        for window in windows:
            window[:] = 0  # the caller may reuse its buffers
    for call, theirs in zip(pending, expected, strict=True):
        assert_close(call.result().features, theirs, "bf16")
        assert call.done()


@needs_cuda
def test_memory_does_not_grow(weights, noise):
    embedder = Embedder(SPEC, weights, DEVICE, 8 * 1190, "bf16")
    embedder.engine.capture(WINDOW)
    windows = [noise(WINDOW if seed % 3 else 100_000 + seed, seed) for seed in range(40)]
    for _ in range(3):
        embedder.embed(windows)
    reserved = torch.cuda.memory_reserved()
    locked = torch.cuda.host_memory_stats()["allocated_bytes.current"]
    for _ in range(20):
        embedder.embed(windows)
    # Blocks are freed once a device event has passed, and that time varies.
    assert torch.cuda.memory_reserved() <= reserved + SLACK_BYTES
    assert torch.cuda.host_memory_stats()["allocated_bytes.current"] <= locked + SLACK_BYTES


EMBED_SCRIPT = """
import json, sys
import numpy as np
import torch
from models.archs import ARCHS, DEFAULT_ARCH
from models.inference.embedder import Embedder
from models.checkpoints.state_dict import random_state_dict

out, share, max_tokens = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
torch.cuda.set_per_process_memory_fraction(share)
spec = ARCHS[DEFAULT_ARCH]
embedder = Embedder(spec, random_state_dict(spec, 0), "cuda", max_tokens, "bf16")
if len(sys.argv) > 4:
    embedder.warm_up(320_000)
rng = np.random.default_rng(0)
lengths = [320_000] * 48 + [20_000, 100_000, 5_120] * 4
windows = [rng.normal(0, 0.1, n).astype(np.float32) for n in lengths]
np.save(out, np.concatenate([embedder.embed(windows).features for _ in range(3)]))
print(json.dumps({"max_tokens": embedder.engine.max_tokens}))
"""


def start_process(out, share, max_tokens, *more, **env):
    """Start `EMBED_SCRIPT` with a share of the GPU's memory; one more argument warms it up."""
    return subprocess.Popen(
        [sys.executable, "-c", EMBED_SCRIPT, str(out), str(share), str(max_tokens), *more],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_report(process):
    """Wait for a process to succeed, and return the JSON report in its last line of output."""
    try:
        printed, errors = process.communicate(timeout=PROCESS_TIMEOUT_S)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    return json.loads(printed.splitlines()[-1])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Features from a single process that may use all of the GPU's memory."""
    out = tmp_path_factory.mktemp("undisturbed") / "out.npy"
    wait_for_report(start_process(out, 1.0, 64 * 1190))
    return np.load(out)


@needs_cuda
def test_blocking_launches_give_the_same_features(undisturbed, tmp_path):
    """Features would differ if a stream did not wait for another stream's results."""
    for more in ((), ("warm",)):
        process = start_process(
            tmp_path / "out.npy", 1.0, 64 * 1190, *more, CUDA_LAUNCH_BLOCKING="1"
        )
        wait_for_report(process)
        assert_close(np.load(tmp_path / "out.npy"), undisturbed, "bf16")


@needs_cuda
@pytest.mark.parametrize("more", [(), ("warm",)])
def test_batches_are_halved_when_memory_runs_out(more, undisturbed, tmp_path):
    _, total_bytes = torch.cuda.mem_get_info()
    # A batch of 64 windows takes up to 1.25 GB, in addition to 0.27 GB of weights and samples.
    process = start_process(tmp_path / "out.npy", 0.9e9 / total_bytes, 64 * 1190, *more)
    assert wait_for_report(process)["max_tokens"] < 64 * 1190
    assert_close(np.load(tmp_path / "out.npy"), undisturbed, "bf16")


@needs_cuda
def test_two_processes_share_a_gpu(undisturbed, tmp_path):
    files = [tmp_path / f"{i}.npy" for i in range(2)]
    processes = [start_process(file, 0.5, 16 * 1190, "warm") for file in files]
    try:
        for process in processes:
            wait_for_report(process)
    finally:
        for process in processes:
            process.kill()
    for file in files:
        assert_close(np.load(file), undisturbed, "bf16")


@needs_cuda
def test_bench_model_reports_its_measurements():
    command = [
        *(sys.executable, "-m", "jobs.bench.model", "--device", DEVICE, "--repeats", "1"),
        *("--cases", "windows,mix,timestamps,long", "--precisions", "bf16", "--json"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    ours = [row["result"] for row in reports if row.get("result", {}).get("who") == "passtream"]
    assert len(ours) == 4
    assert ours[0]["fidelity"]["noise"]["cosine_min"] > 0.999
    assert ours[0]["warm_up"]["batch_windows"] >= 1
    assert ours[0]["peak_memory_bytes"] > 0

"""What only a GPU shows of the engine: recorded forwards, streams, memory, processes side by side.

Runs with torch, torchaudio, numpy and pytest alone, as `test_gpu.py`.
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
    """Batch sizes are to be found here, and not to be left behind."""
    monkeypatch.setenv("PASSTREAM_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def weights():
    return random_state_dict(SPEC, 0)


@pytest.fixture(scope="module")
def clips(noise):
    return [noise(n_samples, seed) for seed, n_samples in enumerate(RAGGED)]


@contextlib.contextmanager
def waiting_is_an_error():
    """Raise where the host waits for the device."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the first call in a process warns of a beta feature
            torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_packs_that_are_copied_while_others_are_computed_are_right(weights, noise):
    windows = [noise(160_000 + 320 * seed, seed) for seed in range(48)]
    embedder = Embedder(SPEC, weights, DEVICE, max_tokens=1190)
    one_by_one = [embedder.embed([window]).features[0] for window in windows]
    for _ in range(3):
        np.testing.assert_allclose(embedder.embed(windows).features, one_by_one, rtol=0, atol=1e-4)


@EVERY_PRECISION
def test_recorded_forwards_are_the_plain_ones(precision, weights, noise):
    embedder = Embedder(SPEC, weights, DEVICE, 7 * 1190, precision)
    clip = noise(WINDOW * 3)
    windows = [clip[begin : begin + WINDOW] for begin in range(0, 2 * WINDOW, 40_000)]
    windows += [noise(n, n) for n in RAGGED]
    expected = embedder.embed(windows)
    fixed = embedder.engine.capture(WINDOW)
    assert fixed.sizes == [7, 3, 1]
    for _ in range(2):
        for ours, theirs in zip(embedder.embed(windows), expected, strict=True):
            assert_close(ours, theirs, precision)


@needs_cuda
def test_a_warm_up_finds_a_batch_and_later_ones_know_it(weights, noise):
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
@pytest.mark.parametrize("is_fixed", [False, True])
def test_nothing_waits_for_the_device_within_a_call(is_fixed, weights, clips, noise):
    embedder = Embedder(SPEC, weights, DEVICE, 4 * 1190, "bf16")
    windows = [torch.from_numpy(noise(WINDOW, seed)) for seed in range(4 * MAX_PACKS_IN_FLIGHT)]
    windows += [torch.from_numpy(clip) for clip in clips]
    with torch.inference_mode():
        if is_fixed:
            embedder.engine.capture(WINDOW)
        embedder.engine(windows)
        torch.cuda.synchronize()
        with waiting_is_an_error():
            embedder.engine(windows)
        torch.cuda.synchronize()


def test_calls_may_be_under_way_together(weights, noise):
    embedder = Embedder(SPEC, weights, DEVICE, 4 * 1190, "bf16")
    calls = [[noise(WINDOW, 10 * call + i) for i in range(6)] for call in range(4)]
    expected = [embedder.embed(windows).features for windows in calls]
    pending = []
    for windows in calls:
        pending.append(embedder.begin(windows))
        for window in windows:
            window[:] = 0  # they are the caller's again
    for call, theirs in zip(pending, expected, strict=True):
        assert_close(call.result().features, theirs, "bf16")
        assert call.done()


@needs_cuda
def test_memory_stays_flat(weights, noise):
    embedder = Embedder(SPEC, weights, DEVICE, 8 * 1190, "bf16")
    embedder.engine.capture(WINDOW)
    windows = [noise(WINDOW if seed % 3 else 100_000 + seed, seed) for seed in range(40)]
    for _ in range(3):
        embedder.embed(windows)
    reserved = torch.cuda.memory_reserved()
    locked = torch.cuda.host_memory_stats()["allocated_bytes.current"]
    for _ in range(20):
        embedder.embed(windows)
    # Blocks come back when an event of the device says so, which is not always at the same time.
    assert torch.cuda.memory_reserved() <= reserved + SLACK_BYTES
    assert torch.cuda.host_memory_stats()["allocated_bytes.current"] <= locked + SLACK_BYTES


WORK = """
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


def start(out, share, max_tokens, *more, **env):
    return subprocess.Popen(
        [sys.executable, "-c", WORK, str(out), str(share), str(max_tokens), *more],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    try:
        told, errors = process.communicate(timeout=PROCESS_TIMEOUT_S)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    return json.loads(told.splitlines()[-1])


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """What one process with all of the memory says."""
    out = tmp_path_factory.mktemp("calm") / "out.npy"
    ended(start(out, 1.0, 64 * 1190))
    return np.load(out)


@needs_cuda
def test_launches_that_wait_give_the_same(calm, tmp_path):
    """Were a stream ahead of one that it must follow, this would tell."""
    for more in ((), ("warm",)):
        ended(start(tmp_path / "out.npy", 1.0, 64 * 1190, *more, CUDA_LAUNCH_BLOCKING="1"))
        assert_close(np.load(tmp_path / "out.npy"), calm, "bf16")


@needs_cuda
@pytest.mark.parametrize("more", [(), ("warm",)])
def test_batches_are_halved_where_memory_runs_out(more, calm, tmp_path):
    _, total_bytes = torch.cuda.mem_get_info()
    # A batch of 64 windows takes 1.25 GB at most, beside 0.27 GB of weights and samples.
    told = ended(start(tmp_path / "out.npy", 0.9e9 / total_bytes, 64 * 1190, *more))
    assert told["max_tokens"] < 64 * 1190
    assert_close(np.load(tmp_path / "out.npy"), calm, "bf16")


@needs_cuda
def test_two_processes_share_a_gpu(calm, tmp_path):
    files = [tmp_path / f"{i}.npy" for i in range(2)]
    processes = [start(file, 0.5, 16 * 1190, "warm") for file in files]
    try:
        for process in processes:
            ended(process)
    finally:
        for process in processes:
            process.kill()
    for file in files:
        assert_close(np.load(file), calm, "bf16")


@needs_cuda
def test_the_bench_tells_what_it_measured():
    command = [
        *(sys.executable, "-m", "jobs.bench.model", "--device", DEVICE, "--repeats", "1"),
        *("--cases", "windows,mix,timestamps,long", "--precisions", "bf16", "--json"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    ours = [row["result"] for row in told if row.get("result", {}).get("who") == "passtream"]
    assert len(ours) == 4
    assert ours[0]["fidelity"]["noise"]["cosine_min"] > 0.999
    assert ours[0]["warm_up"]["batch_windows"] >= 1
    assert ours[0]["peak_memory_bytes"] > 0

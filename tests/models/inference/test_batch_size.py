"""Tests of finding batch sizes, and of the cache that keeps them for later processes."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.hear.factory import front_end
from models.inference.batch_size import (
    GAIN,
    batch_size_key,
    find_batch_size,
    load_batch_size,
    measure_windows_per_s,
    save_batch_size,
)
from models.inference.cuda_graphs import GraphedForwards
from models.inference.embedder import Embedder
from models.inference.engine import Engine
from models.passt.transformer import PaSST

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PASSTREAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def saturating_rate(n_full):
    """Return the rate of a device that is fully used by batches of `n_full` windows."""
    return lambda n: 1000 * min(1, n / n_full)


@pytest.mark.parametrize(
    ("n_full", "max_windows", "expected"),
    [(1, 64, 1), (8, 64, 8), (9, 64, 16), (50, 51, 51), (500, 8, 8)],
)
def test_batch_size_grows_until_it_gains_nothing(n_full, max_windows, expected):
    assert find_batch_size(saturating_rate(n_full), max_windows) == expected


@given(st.lists(st.floats(1, 1000), min_size=1, max_size=8))
def test_no_batch_size_is_faster_by_the_gain(rates):
    max_windows = 2 ** (len(rates) - 1)
    table = {2**i: rate for i, rate in enumerate(rates)}
    found = find_batch_size(table.__getitem__, max_windows)
    assert table[found] * GAIN >= max(rates)
    assert all(table[n] * GAIN < max(rates) for n in table if n < found)


@pytest.mark.parametrize(("memory", "expected"), [(20, 16), (1, 1), (0, 1)])
def test_batches_beyond_memory_are_not_chosen(memory, expected):
    def rate(n):
        if n > memory:
            raise torch.OutOfMemoryError
        return 100.0 * n

    assert find_batch_size(rate, 64) == expected


def test_rate_is_measured_on_the_given_model(small_spec, small_state_dict):
    batches = []
    net = PaSST.from_state_dict(small_spec, small_state_dict).requires_grad_(False)
    engine = Engine(net, front_end(small_spec), 10_000)

    def embed(windows):
        batches.append([len(window) for window in windows])
        with torch.inference_mode():
            return engine(windows)

    assert measure_windows_per_s(embed, 3, 9_600, CPU) > 0
    assert batches == [[9_600] * 3] * 4


def test_batch_size_is_saved_and_loaded(cache):
    key = batch_size_key(CPU, "passt", "bf16", 320_000)
    assert load_batch_size(key) is None
    save_batch_size(key, 48)
    save_batch_size("another", 7)
    assert (load_batch_size(key), load_batch_size("another")) == (48, 7)
    assert batch_size_key(CPU, "passt", "fp32", 320_000) != key


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": 0}', '{"key": "8"}', '{"key": true}'])
def test_damaged_cache_file_is_ignored(cache, content):
    cache.mkdir()
    (cache / "batch_sizes.json").write_text(content)
    assert load_batch_size("key") is None
    save_batch_size("key", 5)
    assert load_batch_size("key") == 5


def test_unwritable_cache_is_no_error(cache):
    cache.write_text("a file where the folder should be")
    save_batch_size("key", 5)
    assert load_batch_size("key") is None


def test_cache_file_is_readable_json(cache):
    save_batch_size(batch_size_key(CPU, "passt", "bf16", 320_000), 48)
    found = json.loads((cache / "batch_sizes.json").read_text())
    assert found == {f"cpu, torch {torch.__version__}, passt, bf16, 320000 samples": 48}


def test_prepare_finds_and_saves_the_batch_size_and_sets_up_forwards(
    small_spec, small_state_dict, noise
):
    windows = [noise(9_600, seed) for seed in range(5)]
    expected = Embedder(small_spec, small_state_dict).embed(windows)
    first = Embedder(small_spec, small_state_dict)
    found = first.prepare(9_600, 4)
    assert found.batch_windows in (1, 2, 4)
    assert (found.is_remembered, found.is_recorded) == (False, True)
    assert found.seconds > 0
    assert first.engine.graphed.sizes[0] == found.batch_windows
    key = batch_size_key(CPU, small_spec.name, "fp32", 9_600)
    assert load_batch_size(key) == found.batch_windows
    save_batch_size(key, 3)
    second = Embedder(small_spec, small_state_dict)
    assert second.prepare(9_600, 4)[:3] == (3, True, True)
    # There is less memory than when the batch size was saved.
    third = Embedder(small_spec, small_state_dict)
    assert third.prepare(9_600, 2)[:3] == (2, True, True)
    for embedder in (first, second, third):
        found = embedder.embed(windows)
        np.testing.assert_allclose(found.features, expected.features, atol=1e-5, rtol=0)


def test_failed_capture_is_a_warning(small_spec, small_state_dict, noise, monkeypatch):
    def refuse(*_):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    embedder = Embedder(small_spec, small_state_dict)
    monkeypatch.setattr("models.inference.engine.GraphedForwards", refuse)
    with pytest.warns(UserWarning, match=r"9600 samples cannot be captured on cpu, .* capturing$"):
        assert not embedder.prepare(9_600, 2).is_recorded
    assert len(embedder.embed([noise(9_600)]).features) == 1


def test_capture_beyond_memory_is_repeated_for_smaller_batches(
    small_spec, small_state_dict, monkeypatch
):
    attempts = []

    class LimitedForwards(GraphedForwards):
        def __init__(self, net, mel, n_samples, max_windows):
            attempts.append(max_windows)
            if max_windows > 2:
                raise torch.OutOfMemoryError
            super().__init__(net, mel, n_samples, max_windows)

    save_batch_size(batch_size_key(CPU, small_spec.name, "fp32", 48_000), 8)
    monkeypatch.setattr("models.inference.engine.GraphedForwards", LimitedForwards)
    embedder = Embedder(small_spec, small_state_dict)
    assert embedder.prepare(48_000, 8).batch_windows == 2
    assert attempts == [8, 4, 2]


def test_cpu_needs_no_warm_up(small_spec, small_state_dict, cache):
    embedder = Embedder(small_spec, small_state_dict, max_tokens=100)
    warm_up = embedder.warm_up(9_600)
    assert (warm_up.batch_windows, warm_up.seconds) == (100 // small_spec.n_tokens(9_600), 0.0)
    assert embedder.engine.graphed is None
    assert not cache.exists()

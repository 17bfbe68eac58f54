"""Batch sizes: the smallest that is as fast as any, and what is remembered of them."""

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
    save_batch_size,
    load_batch_size,
    measure_windows_per_s,
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


def saturating(at):
    """Windows a second of a device that so many windows fill."""
    return lambda n: 1000 * min(1, n / at)


@pytest.mark.parametrize(
    ("full_at", "most", "expected"),
    [(1, 64, 1), (8, 64, 8), (9, 64, 16), (50, 51, 51), (500, 8, 8)],
)
def test_a_batch_is_as_large_as_it_gains(full_at, most, expected):
    assert find_batch_size(saturating(full_at), most) == expected


@given(st.lists(st.floats(1, 1000), min_size=1, max_size=8))
def test_none_is_faster_by_the_gain(rates):
    most = 2 ** (len(rates) - 1)
    table = {2**i: rate for i, rate in enumerate(rates)}
    found = find_batch_size(table.__getitem__, most)
    assert table[found] * GAIN >= max(rates)
    assert all(table[n] * GAIN < max(rates) for n in table if n < found)


@pytest.mark.parametrize(("memory", "expected"), [(20, 16), (1, 1), (0, 1)])
def test_what_does_not_fit_is_not_taken(memory, expected):
    def rate(n):
        if n > memory:
            raise torch.OutOfMemoryError
        return 100.0 * n

    assert find_batch_size(rate, 64) == expected


def test_a_rate_is_measured_on_the_model_itself(small_spec, small_state_dict):
    seen = []
    net = PaSST.from_state_dict(small_spec, small_state_dict).requires_grad_(False)
    engine = Engine(net, front_end(small_spec), 10_000)

    def embed(windows):
        seen.append([len(window) for window in windows])
        with torch.inference_mode():
            return engine(windows)

    assert measure_windows_per_s(embed, 3, 9_600, CPU) > 0
    assert seen == [[9_600] * 3] * 4


def test_a_batch_is_remembered(cache):
    key = batch_size_key(CPU, "passt", "bf16", 320_000)
    assert load_batch_size(key) is None
    save_batch_size(key, 48)
    save_batch_size("another", 7)
    assert (load_batch_size(key), load_batch_size("another")) == (48, 7)
    assert batch_size_key(CPU, "passt", "fp32", 320_000) != key


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": 0}', '{"key": "8"}', '{"key": true}'])
def test_a_damaged_memory_is_none(cache, content):
    cache.mkdir()
    (cache / "batch_sizes.json").write_text(content)
    assert load_batch_size("key") is None
    save_batch_size("key", 5)
    assert load_batch_size("key") == 5


def test_a_memory_that_cannot_be_written_is_done_without(cache):
    cache.write_text("a file where the folder should be")
    save_batch_size("key", 5)
    assert load_batch_size("key") is None


def test_what_is_remembered_is_json_that_people_can_read(cache):
    save_batch_size(batch_size_key(CPU, "passt", "bf16", 320_000), 48)
    found = json.loads((cache / "batch_sizes.json").read_text())
    assert found == {f"cpu, torch {torch.__version__}, passt, bf16, 320000 samples": 48}


def test_preparing_finds_remembers_and_fixes(small_spec, small_state_dict, noise):
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
    # There is less memory than there was.
    third = Embedder(small_spec, small_state_dict)
    assert third.prepare(9_600, 2)[:3] == (2, True, True)
    for embedder in (first, second, third):
        found = embedder.embed(windows)
        np.testing.assert_allclose(found.features, expected.features, atol=1e-5, rtol=0)


def test_what_cannot_be_recorded_is_said_and_done_without(
    small_spec, small_state_dict, noise, monkeypatch
):
    def refuse(*_):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    embedder = Embedder(small_spec, small_state_dict)
    monkeypatch.setattr("models.inference.engine.GraphedForwards", refuse)
    with pytest.warns(UserWarning, match=r"9600 samples are not recorded on cpu: .* capturing$"):
        assert not embedder.prepare(9_600, 2).is_recorded
    assert len(embedder.embed([noise(9_600)]).features) == 1


def test_a_recording_that_does_not_fit_is_made_smaller(small_spec, small_state_dict, monkeypatch):
    asked = []

    class Tight(GraphedForwards):
        def __init__(self, net, mel, n_samples, most):
            asked.append(most)
            if most > 2:
                raise torch.OutOfMemoryError
            super().__init__(net, mel, n_samples, most)

    save_batch_size(batch_size_key(CPU, small_spec.name, "fp32", 48_000), 8)
    monkeypatch.setattr("models.inference.engine.GraphedForwards", Tight)
    embedder = Embedder(small_spec, small_state_dict)
    assert embedder.prepare(48_000, 8).batch_windows == 2
    assert asked == [8, 4, 2]


def test_a_cpu_needs_no_warm_up(small_spec, small_state_dict, cache):
    embedder = Embedder(small_spec, small_state_dict, max_tokens=100)
    warm_up = embedder.warm_up(9_600)
    assert (warm_up.batch_windows, warm_up.seconds) == (100 // small_spec.n_tokens(9_600), 0.0)
    assert embedder.engine.graphed is None
    assert not cache.exists()

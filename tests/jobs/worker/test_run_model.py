"""Tests of `RunModel`: routing of windows by length, and measurement of fidelity."""

import dataclasses

import numpy as np
import pytest

from jobs.worker.run_model import FIDELITY_WINDOWS, RunModel, RunSpec, build_model
from models.archs import EMBED_DIM, arch_spec
from models.checkpoints.state_dict import load_weights
from models.errors import ModelError
from models.inference.embedder import Embedder
from models.inference.staging import stage
from models.inference.timestamp_levels import longest_window, timestamp_levels, timestamp_size
from pipeline.errors import PipelineError
from pipeline.stream.windows import WindowCutter, WindowRule
from pipeline.table.spec import Route, TableSpec
from tests.support import FAST_ARCH, tone

# Two archs with few tokens: one for clips up to 0.5 s, one for clips up to 1 s.
ARCHS = (FAST_ARCH, "passt_s_swa_p16_s16_128_ap473")
LEVELS = timestamp_levels("base2levelmel", arch_spec(FAST_ARCH))


def load_both_weights():
    """Return the weights of both archs, from different seeds."""
    return {name: load_weights(f"random:{i}", arch_spec(name)) for i, name in enumerate(ARCHS)}


@pytest.fixture(scope="module")
def weights():
    return load_both_weights()


@pytest.fixture(scope="module")
def spec(weights):
    routes = [
        Route(name, up_to_s, weights[name].origin, weights[name].digest, 320)
        for name, up_to_s in zip(ARCHS, (0.5, 1.0), strict=True)
    ]
    return TableSpec(
        routes=tuple(routes),
        min_samples=arch_spec(FAST_ARCH).min_samples,
        embedding_dim=EMBED_DIM,
        n_classes=527,
        window_s=1.0,
        hop_s=0.5,
        long_clips="route",
        tables=("clips", "timestamps"),
        timestamps="base2levelmel",
        timestamp_dim=timestamp_size(LEVELS, 527 + EMBED_DIM),
        timestamp_window=longest_window(LEVELS),
    )


@pytest.fixture(scope="module")
def embedders(weights):
    return {name: Embedder(arch_spec(name), weights[name].state_dict) for name in ARCHS}


# Windows on both sides of 0.5 s, which is 16,000 samples.
WINDOWS = [tone(n / 32_000, 32_000, seed=n) for n in (16_001, 16_000, 5_000, 32_000)]


def test_each_window_is_embedded_by_the_route_for_its_length(spec, weights, embedders):
    model = RunModel(spec, dict(weights), "cpu")
    outputs = model.embed(WINDOWS)
    for row, route in enumerate((1, 0, 0, 1)):
        alone = embedders[ARCHS[route]].embed([WINDOWS[row]])
        np.testing.assert_allclose(outputs.features[row], alone.features[0], atol=1e-5)
        np.testing.assert_allclose(outputs.logits[row], alone.logits[0], atol=1e-5)
    assert model.fidelity is None


def test_windows_of_one_clip_are_copied_once(spec, weights, monkeypatch):
    """Overlapping windows are views of their clip, and the overlap is staged only once."""
    cutter = WindowCutter(WindowRule(window=16_000, hop=4_000, padding="none"))
    (block,) = [*cutter.push(tone(2.0, 32_000)), *cutter.finish()]
    block.pcm.flags.writeable = False  # like an array from Ray's object store
    windows = list(block.windows())
    assert len(windows) == 13
    staged = []
    monkeypatch.setattr(
        "models.inference.engine.stage", lambda *args: staged.append(stage(*args)) or staged[-1]
    )
    model = RunModel(spec, dict(weights), "cpu")
    found = model.embed(windows)
    assert [len(each.samples) for each in staged] == [len(block.pcm)]
    alone = model.embed([windows[5].copy()])
    np.testing.assert_allclose(found.features[5], alone.features[0], atol=1e-5)


def test_begin_returns_outputs_of_all_routes_in_order(spec, weights):
    model = RunModel(spec, dict(weights), "cpu")
    pending = model.begin(WINDOWS)
    assert pending.done()
    for ours, theirs in zip(pending.result(), model.embed(WINDOWS), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_cpu_needs_no_warm_up(spec, weights):
    model = RunModel(spec, dict(weights), "cpu")
    model.prepare()
    assert model.warm_up is None
    assert model.batch_samples >= 16_000


def test_timestamps_are_embedded_by_the_first_arch(spec, weights, embedders):
    model = RunModel(spec, dict(weights), "cpu")
    stream = tone((3 * 1600 + spec.timestamp_window) / 32_000, 32_000)
    found = model.embed_timestamps(stream, 4)
    assert found.shape == (4, spec.timestamp_dim)
    expected = embedders[ARCHS[0]].embed_timestamps(LEVELS, stream, 4)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_labels_have_the_class_names_of_the_data_set(spec, weights):
    logits = -np.arange(527, dtype=np.float32)[None]
    ((best,),) = RunModel(spec, dict(weights), "cpu").top_labels(logits, 1)
    assert best == (0, "Speech", 0.5)


def test_lower_precision_measures_fidelity_on_the_first_windows_of_each_route(spec):
    low = dataclasses.replace(spec, precision="bf16")
    weights = load_both_weights()
    model = RunModel(low, weights, "cpu")
    assert model.fidelity is None
    model.embed([WINDOWS[1]] * (FIDELITY_WINDOWS + 2))
    first = model.fidelity
    assert first["archs"] == [ARCHS[0]]
    assert first["windows"] == FIDELITY_WINDOWS
    assert (first["precision"], first["device"]) == ("bf16", "cpu")
    # The difference to fp32 is not zero, but small.
    assert 0 < first["max_abs"] < 0.2
    assert 0.98 < first["cosine_min"] <= first["cosine_mean"] <= 1
    assert weights.keys() == {ARCHS[1]}
    model.embed(WINDOWS)
    both = model.fidelity
    assert (both["archs"], both["windows"]) == (list(ARCHS), FIDELITY_WINDOWS + 2)
    assert both["cosine_min"] <= first["cosine_min"]
    # All routes are measured, and their weights are released.
    assert weights == {}
    model.embed(WINDOWS)
    assert model.fidelity == both


def test_failed_batch_leaves_the_measurement_to_the_next(spec):
    model = RunModel(dataclasses.replace(spec, precision="bf16"), load_both_weights(), "cpu")
    with pytest.raises(ModelError):
        model.begin([WINDOWS[1], np.zeros(3, np.float32)])
    assert model.fidelity is None
    # Of two batches in flight, only the first that returns its result is measured.
    first, second = model.begin([WINDOWS[1]] * 2), model.begin([WINDOWS[2]])
    second.result()
    assert model.fidelity["windows"] == 1
    first.result()
    assert model.fidelity["windows"] == 1


def test_fp32_measures_no_fidelity(spec):
    weights = load_both_weights()
    model = RunModel(spec, weights, "cpu")
    assert weights == {}
    model.embed(WINDOWS)
    assert model.fidelity is None


def test_weights_that_differ_from_the_tables_are_refused(spec, tmp_path):
    run = RunSpec(str(tmp_path), spec, dict.fromkeys(ARCHS, "random:0"))
    with pytest.raises(PipelineError, match=f"'random:0' of {ARCHS[1]} have digest"):
        build_model(run)

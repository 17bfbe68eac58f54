"""Tests of the engine on a CPU: forwards for full windows, and outputs in the windows' order."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.hear.factory import front_end
from models.inference.cuda_graphs import MIN_FILL, GraphedForwards
from models.inference.embedder import Embedder
from models.inference.engine import Engine
from models.inference.staging import stage
from models.passt.preprocess import AugmentMelSTFT
from models.passt.transformer import PaSST

N_SAMPLES = 16_000
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def net(small_spec, small_state_dict):
    return PaSST.from_state_dict(small_spec, small_state_dict).requires_grad_(False)


@pytest.fixture(scope="module")
def mel(small_spec):
    return front_end(small_spec)


@pytest.fixture(scope="module")
def graphed(net, mel):
    with torch.inference_mode():
        return GraphedForwards(net, mel, N_SAMPLES, 6)


def tensors(noise, lengths):
    return [torch.from_numpy(noise(n, seed)) for seed, n in enumerate(lengths)]


@given(st.integers(0, 500), st.integers(1, 70))
def test_split_covers_all_windows_and_fills_the_batches(n_windows, max_windows):
    sizes = [max_windows]
    while sizes[-1] > 1:
        sizes.append(sizes[-1] // 2)
    graphed = GraphedForwards.__new__(GraphedForwards)
    graphed.sizes = sizes
    counts = graphed.split(n_windows)
    assert sum(counts) == n_windows
    for count in counts:
        size = graphed.size_for(count)
        assert count <= size
        assert count >= MIN_FILL * size
    assert counts == sorted(counts, reverse=True)


def test_each_size_is_half_of_the_previous(graphed):
    assert graphed.sizes == [6, 3, 1]


@pytest.mark.parametrize("n_windows", [1, 2, 3, 5, 6])
def test_graphed_forward_equals_the_windows_alone(graphed, net, mel, noise, n_windows):
    windows = tensors(noise, [N_SAMPLES] * n_windows)
    engine = Engine(net, mel, 1)
    with torch.inference_mode():
        expected = engine(windows)
        for count in (n_windows,) if n_windows in graphed.split(n_windows) else ():
            found = graphed(stage(windows[:count], CPU))
            for ours, theirs in zip(found, expected, strict=True):
                torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_outputs_are_not_overwritten_by_the_next_batch(graphed, noise):
    with torch.inference_mode():
        _, first = graphed(stage(tensors(noise, [N_SAMPLES]), CPU))
        kept = first.clone()
        graphed(stage([torch.from_numpy(noise(N_SAMPLES, 99))], CPU))
    assert torch.equal(first, kept)


def test_overlapping_windows_share_one_graphed_forward(graphed, net, mel, noise):
    clip = torch.from_numpy(noise(N_SAMPLES * 3))
    windows = list(clip.unfold(0, N_SAMPLES, N_SAMPLES // 2))
    assert len(windows) == 5
    with torch.inference_mode():
        staged = stage(windows, CPU)
        assert len(staged.samples) == len(clip)
        logits, features = graphed(staged)
        for row, window in enumerate(windows):
            alone_logits, alone_features = net(mel(window[None]))
            torch.testing.assert_close(logits[row], alone_logits[0], atol=1e-5, rtol=0)
            torch.testing.assert_close(features[row], alone_features[0], atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.just(N_SAMPLES) | st.integers(4_801, 40_000), min_size=1, max_size=12),
    st.integers(1, 400),
)
def test_outputs_keep_the_order_of_full_and_other_windows(
    small_spec, small_state_dict, noise, lengths, max_tokens
):
    embedder = Embedder(small_spec, small_state_dict, max_tokens=max_tokens)
    windows = [noise(n, seed) for seed, n in enumerate(lengths)]
    alone = [embedder.embed([window]) for window in windows]
    embedder.engine.capture(N_SAMPLES)
    together = embedder.embed(windows)
    for row, expected in enumerate(alone):
        np.testing.assert_allclose(together.features[row], expected.features[0], atol=1e-5, rtol=0)
        np.testing.assert_allclose(together.logits[row], expected.logits[0], atol=1e-5, rtol=0)


def test_only_full_windows_use_the_graphed_forwards(
    small_spec, small_state_dict, noise, monkeypatch
):
    embedder = Embedder(small_spec, small_state_dict, max_tokens=2 * 34 + 33)
    embedder.engine.capture(N_SAMPLES)
    sizes = []
    call = GraphedForwards.__call__

    def record_size(self, staged):
        sizes.append(len(staged.offsets))
        return call(self, staged)

    monkeypatch.setattr(GraphedForwards, "__call__", record_size)
    lengths = [N_SAMPLES] * 5 + [N_SAMPLES + 1, 9_600]
    embedder.embed([noise(n, seed) for seed, n in enumerate(lengths)])
    max_windows = embedder.engine.max_tokens // small_spec.n_tokens(N_SAMPLES)
    assert sum(sizes) == 5
    assert max(sizes) == max_windows


def test_front_end_with_its_own_forward_is_called(net, small_spec, noise):
    class Louder(AugmentMelSTFT):
        def forward(self, samples):
            return super().forward(2 * samples)

    windows = tensors(noise, [9_600, 20_000])
    with torch.inference_mode():
        _, features = Engine(net, Louder(hopsize=small_spec.hop_samples), 10_000)(windows)
        _, expected = Engine(net, front_end(small_spec), 10_000)([2 * each for each in windows])
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=0)


def test_no_windows_give_no_rows(net, mel):
    logits, features = Engine(net, mel, 100)([])
    assert logits.shape == (0, 527)
    assert features.shape == (0, 768)


def test_pending_outputs_are_complete_on_a_cpu(small_spec, small_state_dict, noise):
    embedder = Embedder(small_spec, small_state_dict)
    window = noise(9_600)
    pending = embedder.begin([window])
    expected = pending.result()
    assert pending.done()
    window[:] = 0
    np.testing.assert_array_equal(pending.result().features, expected.features)


def test_samples_rounded_to_16_bits_give_other_embeddings(spec, state_dict):
    """This is why samples are copied as float32. Equal computations may differ by 1e-4."""
    seconds = np.arange(64_000, dtype=np.float32) / 32_000
    window = 0.3 * np.sin(2 * np.pi * 440 * seconds) * np.exp(-5 * seconds)
    rounded = (np.rint(window * 32768) / 32768).astype(np.float32)
    embedder = Embedder(spec, state_dict)
    exact, other = embedder.embed([window]), embedder.embed([rounded])
    assert np.abs(exact.features - other.features).max() > 1e-4

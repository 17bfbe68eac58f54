"""Tests of the embedder: windows of mixed lengths get the outputs that each gets alone."""

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import WindowError
from models.inference.embedder import Embedder
from models.passt.linear import can_pack

SHORTEST, LONGEST = 4801, 322_240


@pytest.fixture(scope="module")
def embedder(spec, state_dict):
    # Two windows of 3 s fit into a batch (8 x 18 + 2 tokens each), so several batches are needed.
    return Embedder(spec, state_dict, max_tokens=2 * 146)


@pytest.fixture(scope="module")
def small_embedder(small_spec, small_state_dict):
    return Embedder(small_spec, small_state_dict, max_tokens=2 * 146)


def assert_rows_equal_windows_alone(embedder, windows):
    together = embedder.embed(windows)
    for row, window in enumerate(windows):
        alone = embedder.embed([window])
        np.testing.assert_allclose(together.features[row], alone.features[0], atol=1e-5, rtol=0)
        np.testing.assert_allclose(together.logits[row], alone.logits[0], atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(SHORTEST, 3 * 32_000), min_size=2, max_size=5))
def test_each_row_equals_its_window_alone(small_embedder, noise, lengths):
    windows = [noise(n_samples, seed) for seed, n_samples in enumerate(lengths)]
    assert_rows_equal_windows_alone(small_embedder, windows)


def test_each_row_equals_its_window_alone_through_all_blocks(embedder, noise):
    # 0.15 s, and two lengths each of about 3 s and 1 s, one of them with unused frames.
    lengths = [96_000, SHORTEST, 32_000, 92_000, 33_999]
    windows = [noise(n_samples, seed) for seed, n_samples in enumerate(lengths)]
    assert_rows_equal_windows_alone(embedder, windows)


def test_rows_keep_the_order_of_the_windows(embedder, noise):
    # Four counts of time patches, unsorted, with equal counts not adjacent.
    lengths = [10_000, 30_000, 5_000, 10_001, 30_001, 20_000, 5_001]
    windows = [noise(n_samples, seed) for seed, n_samples in enumerate(lengths)]
    forwards, backwards = embedder.embed(windows), embedder.embed(windows[::-1])
    np.testing.assert_allclose(forwards.features, backwards.features[::-1], atol=1e-5, rtol=0)
    distances = np.abs(forwards.features[:, None] - forwards.features[None]).max(axis=-1)
    assert distances[~np.eye(len(windows), dtype=bool)].min() > 0.01


def test_outputs_equal_the_reference_from_samples_on(
    embedder, state_dict, reference_net, reference_mel, quietly, noise
):
    window = noise(2 * 32_000 + 17)
    spectrogram = quietly(reference_mel(320), torch.from_numpy(window)[None])
    net = reference_net(embedder.spec, state_dict)
    logits, features = quietly(net, spectrogram[:, None])
    ours = embedder.embed([window])
    np.testing.assert_allclose(ours.logits, logits.numpy(), atol=1e-4, rtol=0)
    np.testing.assert_allclose(ours.features, features.numpy(), atol=1e-4, rtol=0)


def test_outputs_are_float32_rows(embedder, noise):
    outputs = embedder.embed([noise(SHORTEST), noise(9600)])
    assert outputs.features.shape == (2, 768)
    assert outputs.logits.shape == (2, 527)
    assert outputs.features.dtype == outputs.logits.dtype == np.float32


def test_no_windows_give_no_rows(embedder):
    outputs = embedder.embed([])
    assert outputs.features.shape == (0, 768)
    assert outputs.logits.shape == (0, 527)


def test_window_larger_than_a_batch_is_embedded_alone(spec, state_dict, embedder, noise):
    windows = [noise(20_000, seed) for seed in range(2)]
    outputs = Embedder(spec, state_dict, max_tokens=1).embed(windows)
    expected = embedder.embed(windows)
    np.testing.assert_allclose(outputs.features, expected.features, atol=1e-5, rtol=0)


def test_longest_window_is_accepted(small_spec, small_state_dict, noise):
    outputs = Embedder(small_spec, small_state_dict).embed([noise(LONGEST)])
    assert np.isfinite(outputs.features).all()


@pytest.mark.parametrize("view", ["read-only", "strided"])
def test_any_memory_layout_is_accepted(embedder, noise, view):
    window = noise(10_000)
    if view == "read-only":
        other = window.copy()
        other.flags.writeable = False
    else:
        other = np.repeat(window, 2)[::2]
    given = other.copy()
    expected, outputs = embedder.embed([window]), embedder.embed([other])
    assert np.array_equal(given, other)
    np.testing.assert_allclose(outputs.features, expected.features, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(1, 9600), (9600, 2), ()])
def test_wrong_rank_is_refused(embedder, shape):
    with pytest.raises(WindowError, match=r"float32 of shape \(n_samples,\), got float32 of shape"):
        embedder.embed([np.zeros(shape, np.float32)])


@pytest.mark.parametrize("dtype", [np.float64, np.int16, np.dtype(">f4")])
def test_wrong_dtype_is_refused(embedder, dtype):
    window = np.zeros(9600, dtype)
    with pytest.raises(WindowError, match=f"float32 of shape .* got {window.dtype} of shape"):
        embedder.embed([window])


@pytest.mark.parametrize("n_samples", [0, SHORTEST - 1, LONGEST + 1])
def test_wrong_length_is_refused(embedder, n_samples):
    with pytest.raises(
        WindowError, match=f"^{n_samples} samples.* too (short|long) .* (4801|322240)"
    ):
        embedder.embed([np.zeros(n_samples, np.float32)])


def test_bad_window_is_refused_before_any_forward(spec, state_dict, monkeypatch, noise):
    embedder = Embedder(spec, state_dict)
    monkeypatch.setattr(embedder.net, "forward_frames", lambda *_: pytest.fail("a forward ran"))
    with pytest.raises(WindowError, match=r"^3 samples"):
        embedder.embed([noise(9600), np.zeros(3, np.float32)])


def test_only_weights_in_onednn_layout_are_copied(small_spec, small_state_dict):
    parameters = dict(Embedder(small_spec, small_state_dict).net.named_parameters())
    linears = {f"blocks.0.{name}" for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}
    packed = linears if can_pack(torch.float32) else set()
    in_packed = {key for key in small_state_dict if key.rpartition(".")[0] in packed}
    assert {key: value.data_ptr() for key, value in parameters.items()} == {
        key: value.data_ptr() for key, value in small_state_dict.items() if key not in in_packed
    }


@contextlib.contextmanager
def memory_for(embedder, n_tokens):
    """Let forwards of more than `n_tokens` run out of memory; yield the other forwards' tokens."""
    n_computed = []

    def check(block, inputs):
        tokens = inputs[0].shape[:-1].numel()
        if tokens > n_tokens:
            raise torch.OutOfMemoryError(f"no memory for {tokens} tokens")
        n_computed.append(tokens)

    hook = embedder.net.blocks[0].register_forward_pre_hook(check)
    try:
        yield n_computed
    finally:
        hook.remove()


def test_batches_are_halved_for_good_until_they_fit(small_spec, small_state_dict, noise):
    windows = [noise(96_000, seed) for seed in range(7)]
    expected = Embedder(small_spec, small_state_dict).embed(windows)
    embedder = Embedder(small_spec, small_state_dict, max_tokens=6 * 146)
    with memory_for(embedder, 2 * 146) as n_computed:
        found = embedder.embed(windows)
        np.testing.assert_allclose(found.features, expected.features, atol=1e-5, rtol=0)
        np.testing.assert_allclose(found.logits, expected.logits, atol=1e-5, rtol=0)
        assert embedder.engine.max_tokens == 6 * 146 // 4
        assert max(n_computed) == 146
        n_computed.clear()
        embedder.embed(windows)
        assert n_computed == [146] * 7


def test_window_that_never_fits_is_an_error(small_spec, small_state_dict, noise):
    embedder = Embedder(small_spec, small_state_dict)
    with memory_for(embedder, 100), pytest.raises(torch.OutOfMemoryError, match="146 tokens"):
        embedder.embed([noise(96_000, 0)])


def test_capture_that_no_longer_fits_is_repeated_at_half_the_size(
    small_spec, small_state_dict, noise
):
    windows = [noise(96_000, seed) for seed in range(4)]
    embedder = Embedder(small_spec, small_state_dict, max_tokens=4 * 146)
    expected = embedder.embed(windows)
    embedder.engine.capture(96_000)
    with memory_for(embedder, 2 * 146):
        found = embedder.embed(windows)
    assert embedder.engine.graphed.sizes == [2, 1]
    np.testing.assert_allclose(found.features, expected.features, atol=1e-5, rtol=0)
    with memory_for(embedder, 100), pytest.raises(torch.OutOfMemoryError):
        embedder.embed(windows)


def test_warm_up_embeds_a_pack_of_several_lengths(
    small_spec, small_state_dict, monkeypatch, tmp_path
):
    monkeypatch.setenv("PASSTREAM_CACHE", str(tmp_path))
    n_groups = []
    embedder = Embedder(small_spec, small_state_dict)
    forward = embedder.net.forward_frames

    def record_groups(frames, pack):
        n_groups.append(len(pack.sequences.groups))
        return forward(frames, pack)

    monkeypatch.setattr(embedder.net, "forward_frames", record_groups)
    embedder.prepare(96_000, 1)
    assert n_groups[-1] == 2

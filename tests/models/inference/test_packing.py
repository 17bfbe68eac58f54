"""Tests of packing: windows share forwards without padding and without changing outputs."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.archs import ARCHS, DEFAULT_ARCH
from models.checkpoints.state_dict import random_state_dict
from models.hear.factory import front_end
from models.hear.wrapper import PasstWrapper
from models.inference.embedder import Embedder
from models.inference.engine import Engine
from models.inference.packing import CPU_PACK_TOKENS, WINDOW_TOKENS, max_pack_tokens, packs
from models.passt.transformer import PaSST

SPEC = ARCHS[DEFAULT_ARCH]
LONG_SPEC = replace(ARCHS["passt_30sec"], depth=2)
SHORTEST, LONGEST = 5120, 30 * 32_000  # 0.16 to 30 s
LENGTHS = st.lists(st.integers(SPEC.min_samples, SPEC.max_samples), max_size=40)


@pytest.fixture(scope="module")
def long_state_dict():
    return random_state_dict(LONG_SPEC, 0)


@pytest.fixture(scope="module")
def long_net(long_state_dict):
    return PaSST.from_state_dict(LONG_SPEC, long_state_dict)


@pytest.fixture
def forwards(monkeypatch):
    """The groups of each forward, as [(sequences, tokens per sequence), ...]."""
    forwards = []
    outputs = PaSST._outputs

    def record_groups(net, tokens, sequences):
        forwards.append([tuple(group) for group in sequences.groups])
        return outputs(net, tokens, sequences)

    monkeypatch.setattr(PaSST, "_outputs", record_groups)
    return forwards


def n_tokens(forwards):
    return sum(n * tokens for groups in forwards for n, tokens in groups)


@settings(max_examples=200)
@given(LENGTHS, st.integers(1, 5000))
def test_every_window_is_in_one_pack(lengths, max_tokens):
    found = list(packs(lengths, SPEC, max_tokens))
    assert sorted(row for pack in found for row in pack) == list(range(len(lengths)))
    for pack in found:
        counts = [SPEC.n_tokens(lengths[row]) for row in pack]
        assert len(pack) == 1 or sum(counts) <= max_tokens
        # Equal counts are adjacent, so that attention computes them as one batch.
        assert counts == sorted(counts, reverse=True)


@given(LENGTHS, st.integers(1, 5000))
def test_no_two_consecutive_packs_fit_into_one(lengths, max_tokens):
    totals = [
        [SPEC.n_tokens(lengths[row]) for row in pack] for pack in packs(lengths, SPEC, max_tokens)
    ]
    for pack, following in pairwise(totals):
        assert sum(pack) + following[0] > max_tokens


@pytest.mark.parametrize(
    ("device", "precision", "free_bytes", "n_windows"),
    [
        ("cpu", "fp32", 0, 2),
        ("cpu", "int8", 0, 1),
        ("cuda", "bf16", 80e9, 64),
        ("cuda", "bf16", 4e9, 25),
        ("cuda", "bf16", 1e6, 1),
    ],
)
def test_packs_hold_as_many_10_s_windows_as_fit_into_memory(
    monkeypatch, device, precision, free_bytes, n_windows
):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(free_bytes), 80 << 30))
    assert max_pack_tokens(torch.device(device), precision) // WINDOW_TOKENS == n_windows


def test_uniformly_distributed_lengths_need_no_padding(small_spec, small_state_dict, forwards):
    """Clips of most corpora have 0.5 to 10 s. Up to 5 % of padding is allowed; there is none."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(16_000, 320_000, 40)
    embedder = Embedder(small_spec, small_state_dict)
    embedder.embed([np.zeros(length, np.float32) for length in lengths])
    assert n_tokens(forwards) == sum(small_spec.n_tokens(length) for length in lengths)
    for groups in forwards:
        assert sum(n * tokens for n, tokens in groups) <= CPU_PACK_TOKENS


def test_equal_sequences_are_one_group(small_spec, small_state_dict, forwards):
    # 16, 31 and 32 frames make one time patch, one with unused frames, and two.
    lengths = [15 * 320 + 1, 31 * 320 + 1, 30 * 320 + 1, 15 * 320 + 1]
    net = PaSST.from_state_dict(small_spec, small_state_dict)
    windows = [torch.rand(length) for length in lengths]
    with torch.no_grad():
        Engine(net, front_end(small_spec), CPU_PACK_TOKENS)(windows)
    # 8 frequency rows of patches, and two special tokens
    assert forwards == [[(1, 2 * 8 + 2), (3, 8 + 2)]]


def windows_of_lengths(noise, lengths):
    return [noise(n_samples, seed) for seed, n_samples in enumerate(lengths)]


MIXED_LENGTHS = st.lists(
    # About half of the windows are short, so packs have many sequences.
    st.integers(SHORTEST, 64_000) | st.integers(SHORTEST, LONGEST),
    min_size=2,
    max_size=6,
)


@settings(deadline=None, max_examples=5)
@given(MIXED_LENGTHS)
def test_scene_embeddings_of_mixed_lengths_equal_the_clips_alone(long_net, noise, lengths):
    model = PasstWrapper(front_end(LONG_SPEC), long_net, max_model_window=30_000)
    clips = [torch.from_numpy(clip) for clip in windows_of_lengths(noise, lengths)]
    together = model.get_scene_embeddings(clips)
    alone = torch.cat([model.get_scene_embeddings(clip[None]) for clip in clips])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    # They also equal one plain forward.
    shortest = min(clips, key=len)
    with torch.no_grad():
        plain = model(shortest[None])[0]
    row = next(row for row, clip in enumerate(clips) if clip is shortest)
    torch.testing.assert_close(together[row], plain, atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=4)
@given(MIXED_LENGTHS)
def test_windows_of_mixed_lengths_equal_the_windows_alone(long_state_dict, noise, lengths):
    embedder = Embedder(LONG_SPEC, long_state_dict)
    windows = windows_of_lengths(noise, lengths)
    together = embedder.embed(windows)
    for row, window in enumerate(windows):
        alone = embedder.embed([window])
        np.testing.assert_allclose(together.features[row], alone.features[0], atol=1e-5, rtol=0)
        np.testing.assert_allclose(together.logits[row], alone.logits[0], atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=3)
@given(MIXED_LENGTHS)
def test_scene_embeddings_of_mixed_lengths_compute_no_extra_tokens(long_net, lengths):
    model = PasstWrapper(front_end(LONG_SPEC), long_net, max_model_window=30_000)
    with pytest.MonkeyPatch.context() as patch:
        n_computed = []
        outputs = PaSST._outputs
        patch.setattr(
            PaSST, "_outputs", lambda *args: n_computed.append(len(args[1])) or outputs(*args)
        )
        model.get_scene_embeddings([torch.zeros(n_samples) for n_samples in lengths])
    total = sum(n_computed)
    assert total == sum(LONG_SPEC.n_tokens(n_samples) for n_samples in lengths)

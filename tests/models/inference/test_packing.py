"""Which windows share a forward, and that nothing is padded for it."""

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
    """Token counts of what goes through each forward, [(sequences, tokens), ...]."""
    seen = []
    outputs = PaSST._outputs

    def counted(net, tokens, sequences):
        seen.append([tuple(group) for group in sequences.groups])
        return outputs(net, tokens, sequences)

    monkeypatch.setattr(PaSST, "_outputs", counted)
    return seen


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
        # Equal ones adjacent, so that attention takes them as one batch.
        assert counts == sorted(counts, reverse=True)


@given(LENGTHS, st.integers(1, 5000))
def test_no_two_packs_in_a_row_fit_into_one(lengths, max_tokens):
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
def test_packs_are_windows_of_ten_seconds_that_memory_has_room_for(
    monkeypatch, device, precision, free_bytes, n_windows
):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(free_bytes), 80 << 30))
    assert max_pack_tokens(torch.device(device), precision) // WINDOW_TOKENS == n_windows


def test_uniform_lengths_cost_no_padding(small_spec, small_state_dict, forwards):
    """0.5 to 10 s, as the clips of most corpora; under 5 % of padding is asked, 0 it is."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(16_000, 320_000, 40)
    embedder = Embedder(small_spec, small_state_dict)
    embedder.embed([np.zeros(length, np.float32) for length in lengths])
    assert n_tokens(forwards) == sum(small_spec.n_tokens(length) for length in lengths)
    for groups in forwards:
        assert sum(n * tokens for n, tokens in groups) <= CPU_PACK_TOKENS


def test_equal_sequences_are_one_group(small_spec, small_state_dict, forwards):
    # 16, 31 and 32 frames: one patch, one patch with frames to spare, and two
    lengths = [15 * 320 + 1, 31 * 320 + 1, 30 * 320 + 1, 15 * 320 + 1]
    net = PaSST.from_state_dict(small_spec, small_state_dict)
    windows = [torch.rand(length) for length in lengths]
    with torch.no_grad():
        Engine(net, front_end(small_spec), CPU_PACK_TOKENS)(windows)
    # 8 rows of patches and two tokens
    assert forwards == [[(1, 2 * 8 + 2), (3, 8 + 2)]]


def ragged(noise, lengths):
    return [noise(n_samples, seed) for seed, n_samples in enumerate(lengths)]


MIXES = st.lists(
    # Half of them short: packs of many sequences.
    st.integers(SHORTEST, 64_000) | st.integers(SHORTEST, LONGEST),
    min_size=2,
    max_size=6,
)


@settings(deadline=None, max_examples=5)
@given(MIXES)
def test_ragged_scenes_are_the_clips_alone(long_net, noise, lengths):
    model = PasstWrapper(front_end(LONG_SPEC), long_net, max_model_window=30_000)
    clips = [torch.from_numpy(clip) for clip in ragged(noise, lengths)]
    together = model.get_scene_embeddings(clips)
    alone = torch.cat([model.get_scene_embeddings(clip[None]) for clip in clips])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    # And as one plain forward has them.
    shortest = min(clips, key=len)
    with torch.no_grad():
        plain = model(shortest[None])[0]
    row = next(row for row, clip in enumerate(clips) if clip is shortest)
    torch.testing.assert_close(together[row], plain, atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=4)
@given(MIXES)
def test_ragged_windows_are_the_windows_alone(long_state_dict, noise, lengths):
    embedder = Embedder(LONG_SPEC, long_state_dict)
    windows = ragged(noise, lengths)
    together = embedder.embed(windows)
    for row, window in enumerate(windows):
        alone = embedder.embed([window])
        np.testing.assert_allclose(together.features[row], alone.features[0], atol=1e-5, rtol=0)
        np.testing.assert_allclose(together.logits[row], alone.logits[0], atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=3)
@given(MIXES)
def test_ragged_scenes_cost_the_tokens_there_are(long_net, lengths):
    model = PasstWrapper(front_end(LONG_SPEC), long_net, max_model_window=30_000)
    with pytest.MonkeyPatch.context() as patch:
        counted = []
        outputs = PaSST._outputs
        patch.setattr(
            PaSST, "_outputs", lambda *args: counted.append(len(args[1])) or outputs(*args)
        )
        model.get_scene_embeddings([torch.zeros(n_samples) for n_samples in lengths])
    total = sum(counted)
    assert total == sum(LONG_SPEC.n_tokens(n_samples) for n_samples in lengths)

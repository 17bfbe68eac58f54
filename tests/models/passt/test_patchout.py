"""Tests of patchout, compared with hear21passt under the same random seed."""

from dataclasses import replace

import pytest
import torch

from models.archs import ARCHS, DEFAULT_ARCH
from models.checkpoints.state_dict import random_state_dict
from models.errors import ModelError, WindowError
from models.passt.patchout import Patchout
from models.passt.transformer import PaSST

SPEC = replace(ARCHS[DEFAULT_ARCH], depth=1)
N_FREQ, N_TIME = 12, 9  # 100 frames have (100 - 16) // 10 + 1 = 9 time patches
EVERY_PATCHOUT = pytest.mark.parametrize(
    ("patchout", "n_patches"),
    [
        (Patchout(), N_FREQ * N_TIME),
        (Patchout(unstructured=20), N_FREQ * N_TIME - 20),
        (Patchout(time=4), N_FREQ * (N_TIME - 4)),
        (Patchout(frequency=5), (N_FREQ - 5) * N_TIME),
        (Patchout(unstructured=3, time=4, frequency=5), (N_FREQ - 5) * (N_TIME - 4) - 3),
    ],
    ids=["none", "unstructured", "time", "frequency", "all"],
)


@pytest.fixture(scope="module")
def weights():
    return random_state_dict(SPEC, 0)


@pytest.fixture(scope="module")
def spectrogram():
    return torch.randn(2, 128, 100, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def build(weights):
    return lambda patchout: PaSST.from_state_dict(SPEC, weights, patchout)


@EVERY_PATCHOUT
def test_training_drops_the_given_numbers(patchout, n_patches, build, spectrogram):
    net = build(patchout).train()
    assert net.tokens(spectrogram).shape == (2, 2 + n_patches, 768)
    assert net.encode(spectrogram).shape == (2, 2 + n_patches, 768)


@EVERY_PATCHOUT
def test_evaluation_drops_nothing(patchout, n_patches, build, spectrogram):
    net, plain = build(patchout), build(None)
    assert torch.equal(net.tokens(spectrogram), plain.tokens(spectrogram))
    with torch.no_grad():
        for ours, expected in zip(net(spectrogram), plain(spectrogram), strict=True):
            assert torch.equal(ours, expected)


@EVERY_PATCHOUT
@pytest.mark.parametrize("seed", [0, 1])
def test_training_equals_the_reference_draw_by_draw(
    patchout, n_patches, seed, build, weights, spectrogram, reference_net, quietly
):
    ours, theirs = build(patchout).train(), reference_net(SPEC, weights).train()
    theirs.s_patchout_t, theirs.s_patchout_f = patchout.time, patchout.frequency
    theirs.u_patchout = patchout.unstructured
    torch.manual_seed(seed)
    expected = quietly(theirs, spectrogram[:, None])
    torch.manual_seed(seed)
    outputs = ours(spectrogram)
    for one, other in zip(outputs, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
    # Both make the same number of draws, so their next random numbers are equal.
    torch.manual_seed(seed)
    quietly(theirs, spectrogram[:, None])
    following = torch.rand(1)
    torch.manual_seed(seed)
    ours(spectrogram)
    assert torch.equal(torch.rand(1), following)


def test_kept_patches_keep_their_order_and_differ_by_draw(build, spectrogram):
    net, plain = build(Patchout(time=4, frequency=5)).train(), build(None)
    torch.manual_seed(0)
    first, second = net.tokens(spectrogram), net.tokens(spectrogram)
    assert not torch.equal(first, second)
    all_tokens = plain.tokens(spectrogram)[0]
    indices = [int((all_tokens == token).all(dim=1).nonzero()) for token in first[0]]
    assert indices[:2] == [0, 1]
    assert indices == sorted(indices)


@pytest.mark.parametrize(
    ("patchout", "message"),
    [
        (Patchout(time=99), r"s_patchout_t must be 0 to 98 \(got 99\)"),
        (Patchout(frequency=12), r"s_patchout_f must be 0 to 11 \(got 12\)"),
        (Patchout(time=-1), r"s_patchout_t must be 0 to 98 \(got -1\)"),
        # (12 - 2) x (99 - 9) = 900 patches are left of the grid
        (Patchout(900, 9, 2), r"u_patchout must be 0 to 899 \(got 900\)"),
    ],
)
def test_dropping_the_whole_grid_is_refused(patchout, message):
    with pytest.raises(ModelError, match=message), torch.device("meta"):
        PaSST(SPEC, patchout)


@pytest.mark.parametrize(
    ("patchout", "message"),
    [
        (Patchout(time=9), "s_patchout_t drops 9 of 9"),
        (Patchout(unstructured=108), "u_patchout drops 108 of 108"),
    ],
)
def test_dropping_all_patches_of_a_short_clip_is_refused(patchout, message, build, spectrogram):
    net = build(patchout).train()
    with pytest.raises(WindowError, match=message):
        net(spectrogram)
    net.eval()(spectrogram)

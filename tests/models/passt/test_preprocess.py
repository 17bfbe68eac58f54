"""Tests of the log-mel front end, compared with hear21passt's."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.archs import ARCHS, DEFAULT_ARCH
from models.errors import FrontEndError
from models.passt.preprocess import AugmentMelSTFT, check_front_end

HOPS = (320, 160, 100)
SPEC_BY_HOP = {spec.hop_samples: spec for spec in ARCHS.values()}


@cache
def log_mel(hop_samples):
    return AugmentMelSTFT(hopsize=hop_samples)


@pytest.mark.parametrize("hop_samples", HOPS)
@pytest.mark.parametrize("n_samples", ["one patch", 4802, 9999, 32_000, 48_017])
def test_log_mel_equals_the_reference(hop_samples, n_samples, reference_mel, quietly, noise):
    if n_samples == "one patch":
        n_samples = SPEC_BY_HOP[hop_samples].min_samples
    samples = torch.from_numpy(noise(n_samples))[None]
    ours = log_mel(hop_samples)(samples)
    theirs = quietly(reference_mel(hop_samples), samples)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_silence_equals_the_reference(reference_mel, quietly):
    silence = torch.zeros(1, 9600)
    theirs = quietly(reference_mel(320), silence)
    torch.testing.assert_close(log_mel(320)(silence), theirs, atol=1e-5, rtol=0)


def test_new_front_end_is_deterministic(noise):
    """The reference masks bands and frames at random until `eval()` is called."""
    samples = torch.from_numpy(noise(9600))[None]
    module = AugmentMelSTFT()
    assert not module.training
    assert torch.equal(module(samples), module(samples))


@pytest.mark.parametrize("seed", range(3))
def test_training_equals_the_reference_draw_by_draw(seed, reference_mel, quietly, noise):
    samples = torch.stack([torch.from_numpy(noise(96_000, row)) for row in range(2)])
    ours, theirs = AugmentMelSTFT().train(), reference_mel(320).train()
    torch.manual_seed(seed)
    expected = quietly(theirs, samples)
    torch.manual_seed(seed)
    augmented = ours(samples)
    torch.testing.assert_close(augmented, expected, atol=1e-5, rtol=0)
    # Training has an effect: something is masked or jittered.
    assert not torch.equal(augmented, ours.eval()(samples))


def test_autocast_does_not_reach_the_front_end(noise):
    samples = torch.from_numpy(noise(9600))[None]
    expected = log_mel(320)(samples)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(log_mel(320)(samples), expected)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"hopsize": 160}, "hopsize=160 instead of 320"),
        ({"sr": 16_000}, "sr=16000 instead of 32000, fmax=7000.0 instead of 15000.0"),
        ({"fmax": 14_000}, "fmax=14000.0 instead of 15000.0"),
        ({"fmax_aug_range": 1000}, "fmax=15500.0 instead of 15000.0"),
        ({"n_mels": 64, "win_length": 1024}, "n_mels=64 instead of 128, win_length=1024"),
    ],
)
def test_settings_of_another_arch_are_refused(setting, message):
    with pytest.raises(FrontEndError, match=f"'{DEFAULT_ARCH}': {message}"):
        check_front_end(AugmentMelSTFT(**setting), ARCHS[DEFAULT_ARCH])


def test_settings_for_training_need_not_match():
    mel = AugmentMelSTFT(freqm=0, timem=10, fmin_aug_range=1)
    check_front_end(mel, ARCHS[DEFAULT_ARCH])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"htk": True}, "htk must be False and norm 1"),
        ({"norm": 2}, "htk must be False and norm 1"),
        ({"fmin_aug_range": 0}, "fmin_aug_range must be at least 1"),
    ],
)
def test_unsupported_settings_are_refused(setting, message):
    with pytest.raises(FrontEndError, match=message):
        AugmentMelSTFT(**setting)


def test_windows_of_a_batch_are_independent(noise):
    windows = torch.stack([torch.from_numpy(noise(9601, seed)) for seed in range(3)])
    alone = torch.cat([log_mel(320)(window[None]) for window in windows])
    torch.testing.assert_close(log_mel(320)(windows), alone, atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(HOPS), st.data())
def test_number_of_frames_matches_the_spec(hop_samples, data):
    spec = SPEC_BY_HOP[hop_samples]
    n_samples = data.draw(st.integers(spec.min_samples, 40_000))
    spectrogram = log_mel(hop_samples)(torch.zeros(1, n_samples))
    assert spectrogram.shape == (1, 128, spec.n_frames(n_samples))


def test_filterbank_leaves_out_the_nyquist_bin():
    filterbank = AugmentMelSTFT().filterbank
    assert filterbank.shape == (128, 513)
    assert not filterbank[:, -1].any()
    # The last band ends at 15 000 Hz, which is bin 480: a bin has 32 000 / 1024 Hz.
    assert not filterbank[:, 481:].any()
    assert filterbank[:, 1:480].any(dim=0).all()


def test_state_dict_is_empty():
    assert not AugmentMelSTFT().state_dict()

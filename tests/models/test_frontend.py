"""The log-mel spectrogram against hear21passt's, in evaluation mode."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.archs import ARCHS
from models.frontend import LogMel, mel_filterbank

HOPS = (320, 160, 100)
SPEC_BY_HOP = {spec.hop_samples: spec for spec in ARCHS.values()}
log_mel = cache(LogMel)


@pytest.mark.parametrize("hop_samples", HOPS)
@pytest.mark.parametrize("n_samples", ["one patch", 4802, 9999, 32_000, 48_017])
def test_equals_the_reference(hop_samples, n_samples, reference_mel, quietly, noise):
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


def test_is_the_same_in_training_mode(noise):
    """The reference masks bands and frames at random unless someone calls eval()."""
    samples = torch.from_numpy(noise(9600))[None]
    module = LogMel(320)
    torch.testing.assert_close(module.train()(samples), module.eval()(samples), atol=0, rtol=0)


def test_rows_of_a_batch_do_not_mix(noise):
    windows = torch.stack([torch.from_numpy(noise(9601, seed)) for seed in range(3)])
    alone = torch.cat([log_mel(320)(window[None]) for window in windows])
    torch.testing.assert_close(log_mel(320)(windows), alone, atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(HOPS), st.data())
def test_frames_are_those_the_spec_counts(hop_samples, data):
    spec = SPEC_BY_HOP[hop_samples]
    n_samples = data.draw(st.integers(spec.min_samples, 40_000))
    spectrogram = log_mel(hop_samples)(torch.zeros(1, n_samples))
    assert spectrogram.shape == (1, 128, spec.n_frames(n_samples))


def test_filterbank_leaves_out_the_nyquist_bin():
    filterbank = mel_filterbank()
    assert filterbank.shape == (128, 513)
    assert not filterbank[:, -1].any()
    # 15 000 Hz is bin 480 of 32 000 / 1024 Hz each, where the last band ends
    assert not filterbank[:, 481:].any()
    assert filterbank[:, 1:480].any(dim=0).all()


def test_has_no_state_to_load():
    assert not LogMel(320).state_dict()

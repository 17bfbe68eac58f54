"""Tests of refusing wrong audio, with a remedy in the message."""

import re

import numpy as np
import pytest
import torch

from models.archs import ARCHS, DEFAULT_ARCH
from models.errors import WindowError
from models.inference.input_checks import check_batch, check_clips, check_length

SECOND = torch.zeros(1, 32_000)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (SECOND[0], "audio must be of shape (n_sounds, n_samples) (got (32000,)); one mono clip"),
        (SECOND[None], "(got (1, 1, 32000)); one mono clip is audio.unsqueeze(0), channels are"),
        (torch.tensor(0.0), "(got ())"),
        (
            SECOND.short(),
            "floating point in [-1, 1] (got torch.int16); convert 16-bit samples with",
        ),
        (SECOND.bool(), "(got torch.bool)"),
        (SECOND.cfloat(), "(got torch.complex64)"),
        (np.zeros((1, 32_000), np.float32), "a torch tensor (got ndarray); for numpy arrays use"),
    ],
)
def test_batch_of_wrong_shape_or_type_is_refused(audio, message):
    with pytest.raises(WindowError, match=re.escape(message)):
        check_batch(audio)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused_with_their_index(value):
    audio = torch.zeros(2, 9600)
    audio[1, 77] = value
    with pytest.raises(WindowError, match=r"^audio is NaN or infinite at \[1, 77\]"):
        check_batch(audio)
    with pytest.raises(WindowError, match=r"^a clip in a list is NaN or infinite at \[77\]"):
        check_clips(list(audio))


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_other_sample_rates_are_refused(rate_hz):
    message = rf"at 32000 Hz \(got {rate_hz}\); .*functional\.resample\(audio, {rate_hz}, 32000\)"
    with pytest.raises(WindowError, match=message):
        check_batch(SECOND, rate_hz)
    with pytest.raises(WindowError, match=message):
        check_clips([SECOND[0]], rate_hz)


@pytest.mark.parametrize("rate_hz", [None, 32_000])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_all_floating_point_types_become_float32(dtype, rate_hz):
    audio = torch.linspace(-1, 1, 9600).to(dtype)
    batch = check_batch(audio[None], rate_hz)
    clips = check_clips([audio, audio[:5000]], rate_hz)
    assert [batch.dtype, *(clip.dtype for clip in clips)] == 3 * [torch.float32]
    assert torch.equal(batch[0], audio.float())
    assert [clip.shape for clip in clips] == [(9600,), (5000,)]


def test_batch_and_clips_are_equal():
    audio = torch.rand(3, 9600)
    clips = check_clips(audio)
    assert torch.equal(torch.stack(clips), audio)


def test_list_of_batches_is_refused():
    with pytest.raises(WindowError, match=r"a clip in a list must be of shape \(n_samples,\)"):
        check_clips([SECOND])


@pytest.mark.parametrize(
    ("name", "shortest", "longest", "limit_s"),
    [
        # Shortest: 15 hops and a sample. Longest: (positions x stride + 15) frames of a hop each.
        (DEFAULT_ARCH, 4801, (990 + 15) * 320, "10"),
        ("passt_20sec", 4801, (2000 + 15) * 320, "20"),
        ("passt_30sec", 4801, (3000 + 15) * 320, "30"),
        ("stfthop160", 2401, (2000 + 15) * 160, "10"),
        ("stfthop100", 1501, (3200 + 15) * 100, "10"),
    ],
)
def test_length_limits_are_those_of_the_arch(name, shortest, longest, limit_s):
    spec = ARCHS[name]
    check_length(shortest, spec)
    check_length(longest, spec)
    short = rf"{shortest - 1} samples are too short for arch '{name}': one patch takes {shortest} "
    with pytest.raises(WindowError, match=short):
        check_length(shortest - 1, spec)
    long = rf"{longest + 1} samples .* too long .* '{name}', which takes {longest} \({limit_s} s\)"
    with pytest.raises(WindowError, match=long):
        check_length(longest + 1, spec)

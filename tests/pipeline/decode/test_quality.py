"""`pipeline.decode.quality`: loudness and clipping, whatever the pieces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode.quality import CLIPPED_FROM, FLOOR_DBFS, SILENCE, Quality, QualityMeter
from pipeline.stream.clip_decoder import down_mix


def measured(frames, cuts=()):
    meter = QualityMeter()
    for piece in np.split(frames, cuts):
        meter.add(piece, down_mix(piece))
    return meter.result()


def stereo(left, right):
    return np.stack([left, right], axis=1).astype(np.float32)


def test_a_full_scale_sine_is_3_db_below_its_peak():
    t = np.arange(48_000) / 48_000
    sine = np.sin(2 * np.pi * 997 * t).astype(np.float32)[:, None]
    quality = measured(sine)
    # The RMS of a sine is its peak over the square root of 2: 20 log10(0.70711) dB.
    assert quality.rms_dbfs == pytest.approx(-3.0103, abs=1e-3)
    assert quality.peak_dbfs == pytest.approx(0, abs=1e-3)


def test_the_peak_is_of_any_channel_and_the_rms_of_their_mean():
    quality = measured(stereo(np.full(3000, 0.5), np.full(3000, -0.5)))
    assert quality == Quality(FLOOR_DBFS, pytest.approx(-6.0206, abs=1e-4), 0.0)


def test_a_frame_is_clipped_where_any_channel_is():
    left, right = np.zeros(1000), np.zeros(1000)
    left[:100], right[50:200] = 1.0, -CLIPPED_FROM
    left[300] = 0.9998
    assert measured(stereo(left, right)).clipped_ratio == 0.2


def test_full_scale_of_16_bits_is_clipped():
    full = np.array([[32_767 / 32_768], [-1.0], [32_700 / 32_768]], np.float32)
    assert measured(full).clipped_ratio == pytest.approx(2 / 3)


@pytest.mark.parametrize("n", [0, 1, 5000])
def test_silence_has_a_floor(n):
    assert measured(np.zeros((n, 1), np.float32)) == SILENCE == Quality(-120.0, -120.0, 0.0)
    assert measured(np.full((n, 1), 1e-30, np.float32)).rms_dbfs == FLOOR_DBFS


def test_huge_samples_of_float_files_are_finite():
    # 1e30 squared is beyond float32; 20 log10(1e30) is 600.
    quality = measured(np.full((3000, 1), 1e30, np.float32))
    assert quality.rms_dbfs == quality.peak_dbfs == pytest.approx(600, abs=1e-3)
    assert quality.clipped_ratio == 1


@given(
    seed=st.integers(0, 100),
    channels=st.integers(1, 4),
    cuts=st.lists(st.integers(0, 5000), max_size=6).map(sorted),
)
def test_the_cuts_between_pieces_do_not_matter(seed, channels, cuts):
    frames = np.random.default_rng(seed).uniform(-1, 1, (5000, channels)).astype(np.float32)
    quality, whole = measured(frames, cuts), measured(frames)
    assert (quality.peak_dbfs, quality.clipped_ratio) == (whole.peak_dbfs, whole.clipped_ratio)
    # In double precision, as the definition says.
    rms = np.sqrt(np.square(frames.mean(axis=1, dtype=np.float64)).mean())
    assert quality.rms_dbfs == pytest.approx(20 * np.log10(rms), abs=1e-4)
    assert quality.rms_dbfs == pytest.approx(whole.rms_dbfs, abs=1e-4)

"""`resample`, and all of the decode side, leave no seams: pieces give what the whole does.

The whole is resampled by one call and cut by its spans, as a program would that had the memory.
"""

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode.audio_stream import PIECE_FRAMES
from pipeline.decode.resample import resample, resampled_length
from pipeline.readers.shard_reader import clip_recording
from pipeline.stream.decode_rule import DecodeRule
from pipeline.stream.events import ClipDone
from pipeline.stream.windows import WindowBlock, WindowRule
from tests.pipeline.conftest import single_clip_events

RATES_HZ = (8_000, 11_025, 22_050, 44_100, 48_000, 96_000)


@given(
    rate_hz=st.sampled_from(RATES_HZ),
    n=st.integers(0, 30_000),
    cuts=st.lists(st.integers(0, 30_000), max_size=12).map(sorted),
    most=st.sampled_from([700, PIECE_FRAMES]),
)
def test_pieces_of_any_size_are_bit_exactly_the_whole(noise, rate_hz, n, cuts, most):
    pcm = noise(n)
    pieces = [np.zeros(0, np.float32), *resample(iter(np.split(pcm, cuts)), rate_hz, most)]
    assert np.concatenate(pieces).tobytes() == soxr.resample(pcm, rate_hz, 32_000).tobytes()


@given(rate_hz=st.sampled_from((*RATES_HZ, 32_000, 44_056, 7_333)), n=st.integers(0, 60_000))
def test_the_length_is_known_before(rate_hz, n):
    pieces = resample(iter([np.zeros(n, np.float32)]), rate_hz, PIECE_FRAMES)
    assert resampled_length(n, rate_hz) == sum(map(len, pieces))


def test_32_khz_passes_as_it_is(noise):
    pieces = [noise(100), noise(5)]
    assert [id(piece) for piece in resample(iter(pieces), 32_000, 10)] == [*map(id, pieces)]


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_file_in_pieces_is_the_file_as_a_whole(tmp_path, decoded, noise, rate_hz):
    # More than two pieces of the decoder at any rate.
    pcm = noise(2 * PIECE_FRAMES + 12_345)
    soundfile.write(tmp_path / "a.wav", pcm, rate_hz, subtype="FLOAT")
    samples, _ = decoded(tmp_path / "a.wav")
    assert samples.tobytes() == soxr.resample(pcm, rate_hz, 32_000).tobytes()


def write_flac(path, minutes, rate_hz):
    """Noise under a slow swell, no minute like another; written in blocks."""
    rng = np.random.default_rng(0)
    swell = np.sin(np.linspace(0, np.pi, 60 * rate_hz))
    with soundfile.SoundFile(path, "w", rate_hz, 1, "PCM_16", format="FLAC") as file:
        for _ in range(minutes):
            block = rng.integers(-200, 200, 60 * rate_hz) * swell
            file.write(block.astype(np.int16))
        file.write(rng.integers(-200, 200, 12_345).astype(np.int16))


@pytest.mark.parametrize("padding", ["hear", "none"])
@pytest.mark.parametrize(
    "minutes",
    [pytest.param(3, id="3 min"), pytest.param(360, id="6 h", marks=pytest.mark.slow)],
)
def test_windows_of_a_long_flac_are_those_of_the_whole_file(tmp_path, listed, minutes, padding):
    rate_hz = 8_000
    write_flac(tmp_path / "long.flac", minutes, rate_hz)
    pcm, _ = soundfile.read(tmp_path / "long.flac", dtype="float32")
    whole = soxr.resample(pcm, rate_hz, 32_000)
    del pcm
    rule = WindowRule(320_000, 80_000, padding)
    n_windows = 0
    for event in single_clip_events(
        clip_recording(listed(tmp_path / "long.flac")), 0, DecodeRule(rule, 1)
    ):
        if isinstance(event, WindowBlock):
            assert event.first_index == n_windows
            for window in event.windows():
                first, end = rule.span(n_windows, len(whole))
                assert len(window) == event.length == rule.window
                # The span is less than the window where this begins or ends in a reflection.
                at = first - rule.start(n_windows, len(whole))
                assert np.array_equal(window[at : at + end - first], whole[first:end])
                assert np.array_equal(window[:at], whole[at:0:-1])
                rest = rule.window - at - (end - first)
                assert np.array_equal(window[len(window) - rest :], whole[-2 : -2 - rest : -1])
                n_windows += 1
    assert isinstance(event, ClipDone)
    assert event.n_samples == len(whole) == 4 * (minutes * 60 * rate_hz + 12_345)
    assert event.n_windows == n_windows == rule.count(len(whole))
    assert event.sample_rate_hz == rate_hz

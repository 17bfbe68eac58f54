"""Tests of plausible: refusing audio of implausible length or rate before it is decoded."""

import numpy as np
import pytest
import soundfile

from pipeline.clips import ClipRef, path_to_uri
from pipeline.decode.guards.plausible import find_implausible
from pipeline.errors import ClipError
from pipeline.io.storage import DEFAULT_STORAGE
from pipeline.io.versions import stat_version
from pipeline.limits import MIN_BYTES_PER_S, MIN_SAMPLE_RATE_HZ
from pipeline.planning.clip_estimate import estimate_clips
from pipeline.readers.lazy_reader import lazy_recording
from pipeline.readers.shard_reader import clip_recording
from pipeline.stream.clip_decoder import clip_reader


def write_flac(path, rate_hz, duration_s):
    """Write silence, which takes few bytes in FLAC, and return the path."""
    with soundfile.SoundFile(path, "w", rate_hz, 1, "PCM_16", format="FLAC") as file:
        file.write(np.zeros(round(rate_hz * duration_s), np.int16))
    return path


def decoding_error(path, spec):
    """Return the error of decoding a file, which planning must predict."""
    ref = ClipRef(path_to_uri(str(path)), stat_version(path.stat()))
    with pytest.raises(ClipError) as caught:
        for _ in clip_reader(clip_recording(ref)).pieces():
            pass
    (predicted,) = estimate_clips(lazy_recording((ref,), DEFAULT_STORAGE), spec)
    assert predicted.error == caught.value.error_class
    return caught.value


def test_a_too_low_sample_rate_is_an_error(tmp_path, make_spec):
    error = decoding_error(write_flac(tmp_path / "a.flac", 1, 12 * 3600), make_spec())
    assert error.error_class == "sample_rate_too_low"
    assert f"{MIN_SAMPLE_RATE_HZ} Hz" in error.message
    assert "resample" in error.message


def test_hours_in_a_few_bytes_are_refused(tmp_path, make_spec):
    path = write_flac(tmp_path / "a.flac", 100, 12 * 3600)
    assert path.stat().st_size < MIN_BYTES_PER_S * 12 * 3600
    error = decoding_error(path, make_spec())
    assert error.error_class == "implausible_length"
    assert "43200 s" in error.message


def test_long_silence_is_plausible(tmp_path):
    for rate_hz in (8_000, 44_100):
        path = write_flac(tmp_path / f"{rate_hz}.flac", rate_hz, 1200)
        with soundfile.SoundFile(path) as file:
            assert find_implausible(rate_hz, file.frames, path.stat().st_size) is None


def test_invalid_sample_rates_are_left_to_the_resampler():
    assert find_implausible(0, None, 10) is None
    assert find_implausible(-1, 5, 10) is None


def test_a_short_recording_in_a_tiny_file_is_accepted():
    assert find_implausible(8_000, 8_000 * 599, 100) is None

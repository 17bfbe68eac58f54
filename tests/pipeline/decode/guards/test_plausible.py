"""Audio whose length does not fit its bytes or its rate is refused before it is decoded."""

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
    """Silence in the largest blocks that FLAC has, which are a few bytes each."""
    with soundfile.SoundFile(path, "w", rate_hz, 1, "PCM_16", format="FLAC") as file:
        file.write(np.zeros(round(rate_hz * duration_s), np.int16))
    return path


def error_of(path, spec):
    ref = ClipRef(path_to_uri(str(path)), stat_version(path.stat()))
    with pytest.raises(ClipError) as caught:
        for _ in clip_reader(clip_recording(ref)).pieces():
            pass
    (predicted,) = estimate_clips(lazy_recording((ref,), DEFAULT_STORAGE), spec)
    assert predicted.error == caught.value.error_class
    return caught.value


def test_a_recording_below_the_lowest_sample_rate_is_an_error_of_its_own(tmp_path, make_spec):
    error = error_of(write_flac(tmp_path / "a.flac", 1, 12 * 3600), make_spec())
    assert error.error_class == "sample_rate_too_low"
    assert f"{MIN_SAMPLE_RATE_HZ} Hz" in error.message
    assert "resample" in error.message


def test_hours_in_a_few_bytes_are_refused_before_they_are_decoded(tmp_path, make_spec):
    path = write_flac(tmp_path / "a.flac", 100, 12 * 3600)
    assert path.stat().st_size < MIN_BYTES_PER_S * 12 * 3600
    error = error_of(path, make_spec())
    assert error.error_class == "implausible_length"
    assert "43200 s" in error.message


def test_silence_as_encoders_write_it_is_plausible(tmp_path):
    for rate_hz in (8_000, 44_100):
        path = write_flac(tmp_path / f"{rate_hz}.flac", rate_hz, 1200)
        with soundfile.SoundFile(path) as file:
            assert find_implausible(rate_hz, file.frames, path.stat().st_size) is None


def test_the_rate_of_a_damaged_header_is_left_to_the_resampler():
    assert find_implausible(0, None, 10) is None
    assert find_implausible(-1, 5, 10) is None


def test_a_short_recording_in_a_tiny_file_is_taken():
    assert find_implausible(8_000, 8_000 * 599, 100) is None

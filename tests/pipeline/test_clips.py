"""Tests of `pipeline.clips` and `to_samples`: rounding, clip ids, and file names of any bytes."""

import os

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pipeline.audio import to_samples
from pipeline.clips import ClipRef, path_to_uri, uri_to_path

TEN_DAYS_MS = 10 * 24 * 3600 * 1000
seconds = st.floats(0, 1e6)


@given(st.integers(0, TEN_DAYS_MS))
def test_whole_milliseconds_convert_exactly(milliseconds):
    # A millisecond has 32 samples.
    assert to_samples(milliseconds / 1000) == 32 * milliseconds


@given(st.integers(0, 32_000 * TEN_DAYS_MS // 1000))
def test_samples_survive_conversion_to_seconds_and_back(n_samples):
    assert to_samples(n_samples / 32_000) == n_samples


@given(seconds, seconds)
def test_longer_duration_has_at_least_as_many_samples(one, other):
    assert to_samples(min(one, other)) <= to_samples(max(one, other))


@given(seconds)
def test_seconds_round_to_the_nearest_sample(duration_s):
    assert abs(to_samples(duration_s) - duration_s * 32_000) <= 0.5


def test_clip_id_never_changes():
    # A literal id, because existing tables contain ids.
    assert ClipRef("/corpus/a.wav", "1-2").clip_id == "ac3e93958bcd32ce71e6b0ae3c01cd20"


@given(st.text(), st.text(), st.text())
def test_clip_id_ignores_the_version(uri, one, other):
    assert ClipRef(uri, one).clip_id == ClipRef(uri, other).clip_id


names = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))


@given(st.tuples(names, names), st.tuples(names, names))
@example(("a", "b"), ("ab", ""))
@example(("", "ab"), ("a", "b"))
def test_clip_id_depends_on_both_uri_and_member(one, other):
    assume(one != other)
    ids = {ClipRef(uri, "1-2", member).clip_id for uri, member in (one, other)}
    assert len(ids) == 2


NAMES = [
    b"plain.wav",
    b"two\nlines.wav",
    b'it\'s "quoted".wav',
    b" spaces  and\ttabs .wav",
    "Möwe 🐦 鳥.wav".encode(),
    b"100%25 of it?#.wav",
    b"file:",
    b"latin-1 \xe9t\xe9.wav",
    b"\xff\xfe\n%41.wav",
]


@pytest.mark.parametrize("name", NAMES)
def test_file_name_survives_conversion_to_uri_and_back(name):
    path = os.fsdecode(b"/corpus/" + name)
    uri = path_to_uri(path)
    uri.encode()  # raises if a string column could not store it
    assert uri_to_path(uri) == path


@given(st.lists(st.binary(min_size=1).filter(lambda b: b not in (b".", b"..")), min_size=1))
def test_any_path_survives_conversion_to_uri_and_back(parts):
    parts = [part.replace(b"/", b"_").replace(b"\0", b"_") for part in parts]
    path = os.fsdecode(b"/" + b"/".join(parts))
    assert uri_to_path(path_to_uri(path)) == path


def test_utf8_path_is_its_own_uri():
    assert path_to_uri("/corpus/Möwe 1%.wav") == "/corpus/Möwe 1%.wav"


def test_path_that_is_not_utf8_becomes_a_percent_encoded_file_uri():
    assert path_to_uri(os.fsdecode(b"/corpus/\xe9.wav")) == "file:///corpus/%E9.wav"


def test_relative_path_becomes_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert path_to_uri("sub/../a.wav") == str(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("clip", "ending"),
    [
        (ClipRef("/a.b/c.FLAC", "v"), ".flac"),
        (ClipRef("/a.b/c", "v"), "no ending"),
        (ClipRef("/a.tar", "v", "x/y.mp3"), ".mp3"),
        (ClipRef("/a.parquet", "v", "row=7"), "no ending"),
        (ClipRef("/a.wav", "v", "t=1.5,2.5", span=(1.5, 2.5)), ".wav"),
        (ClipRef("https://host/a.ogg?v=1.2", "v"), ".ogg"),
        (ClipRef("s3://bucket.of/a", "v"), "no ending"),
    ],
)
def test_ending_is_the_extension_of_the_recording(clip, ending):
    assert clip.ending == ending

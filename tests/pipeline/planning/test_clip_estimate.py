"""`clip_estimate`: what it says of a recording is what decoding and cutting then find."""

import dataclasses
import math

import pytest

from pipeline.clips import ClipRef
from pipeline.errors import ClipError
from pipeline.io.storage import DEFAULT_STORAGE
from pipeline.planning.clip_estimate import estimate_clips
from pipeline.readers.lazy_reader import lazy_recording
from pipeline.readers.shard_reader import clip_recording
from pipeline.sources.list_sources import list_sources
from pipeline.stream.clip_decoder import clip_reader
from pipeline.table.spec import Route, TableSpec
from tests.mixed_corpus import ERRORS, write_mixed

# As of `--long-clips route`.
ROUTED = TableSpec(
    routes=tuple(Route(f"to_{s}", s, "random:0", "0" * 64, 320) for s in (10.0, 20.0, 30.0)),
    min_samples=6_000,
    embedding_dim=4,
    n_classes=3,
    window_s=30.0,
    hop_s=10.0,
    long_clips="route",
)
TIMESTAMPS = {"tables": ("clips", "timestamps"), "timestamps": "base", "timestamp_window": 5120}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    folder = write_mixed(tmp_path_factory.mktemp("mixed") / "corpus")
    return list_sources([str(folder)]).clips


@pytest.fixture(scope="module")
def lengths(mixed):
    """Of each clip as it is decoded: samples, or the class of its error."""
    found = {}
    for clip in mixed:
        try:
            found[clip] = sum(map(len, clip_reader(clip_recording(clip)).pieces()))
        except ClipError as error:
            found[clip] = error.error_class
    return found


@pytest.mark.parametrize(
    "changes",
    [{}, {"padding": "none"}, {"pad_short": True}, {"hop_s": 2.5}, TIMESTAMPS],
    ids=str,
)
def test_lengths_routes_and_windows_are_those_of_decoding(lengths, changes):
    spec = dataclasses.replace(ROUTED, **changes)
    routes = set()
    for clip, decoded in lengths.items():
        (found,) = estimate_clips(lazy_recording((clip,), DEFAULT_STORAGE), spec)
        if isinstance(decoded, str):
            assert found.error == decoded, clip
            continue
        if decoded < spec.shortest_clip and not spec.pad_short:
            assert found.error == "too_short"
            continue
        length = max(decoded, spec.shortest_clip)
        assert (found.error, found.n_samples, found.is_exact) == ("", decoded, True), clip
        assert found.route == spec.route_index(decoded)
        assert found.n_windows == spec.window_rule.count(length)
        assert found.n_timestamps == spec.n_timestamps(decoded)
        routes.add(found.route)
    assert routes == {0, 1, 2}
    assert {clip.uri.rpartition("/")[2] for clip, n in lengths.items() if isinstance(n, str)} == {
        name for name, error_class in ERRORS.items() if error_class != "too_short"
    }


@pytest.mark.parametrize("span", [(0.0, 0.5), (0.25, math.inf), (1.0, 99.0), (100.0, 101.0)])
def test_spans(mixed, span):
    for whole in mixed:
        if "/damaged/" in whole.uri:
            continue
        clip = dataclasses.replace(whole, span=span)
        try:
            decoded = sum(map(len, clip_reader(clip_recording(clip)).pieces()))
        except ClipError as error:
            decoded = error.error_class
        (found,) = estimate_clips(lazy_recording((clip,), DEFAULT_STORAGE), ROUTED)
        if isinstance(decoded, int) and decoded < ROUTED.min_samples:
            decoded = "too_short"
        assert (found.error or found.n_samples) == decoded, clip


def test_limits_of_the_table(mixed):
    (clip,) = (clip for clip in mixed if clip.uri.endswith("/s16-long.wav"))
    recording = lazy_recording((clip,), DEFAULT_STORAGE)
    for changes, error_class in (
        ({"max_clip_s": 44.0}, "too_long"),
        ({"max_clip_bytes": 1_000_000}, "too_large"),
    ):
        (found,) = estimate_clips(recording, dataclasses.replace(ROUTED, **changes))
        assert found.error == error_class
    (torn,) = (clip for clip in mixed if clip.uri.endswith("/cut.wav"))
    (found,) = estimate_clips(
        lazy_recording((torn,), DEFAULT_STORAGE),
        dataclasses.replace(ROUTED, short_tolerance=0.9),
    )
    assert found.error == ""


def test_a_file_that_is_gone(tmp_path):
    clip = ClipRef(str(tmp_path / "gone.wav"), "1-1")
    (found,) = estimate_clips(lazy_recording((clip,), DEFAULT_STORAGE), ROUTED)
    assert found.error == "missing"

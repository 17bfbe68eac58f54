"""Tests of `column_names`: the names that other tools use for recordings and their parts."""

import pytest

from pipeline.errors import UsageError
from pipeline.sources.manifests.column_names import name_columns


def column_names(columns):
    names = name_columns(columns.split())
    return names.uri, names.start, names.end or names.duration


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("uri start_s end_s", ("uri", "start_s", "end_s")),
        ("audio_filepath offset duration text", ("audio_filepath", "offset", "duration")),
        ("audio_filepath duration text", ("audio_filepath", "", "duration")),
        ("path start end", ("path", "start", "end")),
        ("file begin end", ("file", "begin", "end")),
        ("file_name start_time end_time", ("file_name", "start_time", "end_time")),
        ("filename startTime endTime", ("filename", "startTime", "endTime")),
        ("wav starttime endtime", ("wav", "starttime", "endtime")),
        ("audio_path start_sec dur", ("audio_path", "start_sec", "dur")),
        ("url segment_start segment_end", ("url", "segment_start", "segment_end")),
        ("src tmin tmax", ("src", "tmin", "tmax")),
        ("URI Start_S End_S", ("URI", "Start_S", "End_S")),
        ("filename onset offset event_label", ("filename", "onset", "offset")),
        ("uri start_s end_s start end", ("uri", "start_s", "end_s")),
        ("uri start_s duration", ("uri", "start_s", "duration")),
        ("uri start end duration", ("uri", "start", "end")),
        ("uri offset", ("uri", "offset", "")),
        ("uri end", ("uri", "", "end")),
        ("client_id path sentence up_votes", ("path", "", "")),
        ("uri year start_year byte_offset n_samples", ("uri", "", "")),
    ],
)
def test_columns_are_found_by_their_usual_names(columns, expected):
    assert column_names(columns) == expected


def test_columns_of_birdnet_and_raven_are_found():
    names = name_columns(["Start (s)", "End (s)", "Common name", "File"])
    assert (names.uri, names.start, names.end) == ("File", "Start (s)", "End (s)")
    names = name_columns(["Selection", "Begin Time (s)", "End Time (s)", "path"])
    assert (names.start, names.end) == ("Begin Time (s)", "End Time (s)")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            "uri start_ms end_ms",
            "'start_ms' is in ms, but parts of recordings are named in seconds",
        ),
        ("uri startMs endMs", "'startMs' is in ms"),
        ("uri start end_ms", "'end_ms' is in ms, .*; convert it to end_s"),
        ("uri offset duration_ms", "'duration_ms' is in ms, .*; convert it to duration"),
        ("uri start_sample end_sample", "'start_sample' is in samples"),
        ("uri frame_offset num_frames", "'frame_offset' is in frames"),
        ("uri start num_frames", "'num_frames' is in frames"),
        ("uri begin_min end_min", "'begin_min' is in minutes"),
        ("uri start begin end", "has columns 'start' and 'begin', each of which may be the start"),
        ("uri start offset", "rename the right one to start_s"),
        ("uri start end stop", "has columns 'end' and 'stop'"),
        ("uri start dur duration", "has columns 'dur' and 'duration'"),
        ("file path", "'file' and 'path', each of which may name the recordings; choose one with"),
        ("id text", "has no column 'uri', it has id, text"),
    ],
)
def test_ambiguous_columns_and_other_units_than_seconds_are_refused(columns, message):
    with pytest.raises(UsageError, match=message):
        name_columns(columns.split())


@pytest.mark.parametrize("columns", ["uri duration", "uri vad_start vad_end"])
def test_columns_that_seem_to_cut_recordings_but_are_not_used_are_noted(columns):
    names = name_columns(columns.split())
    assert column_names(columns) == ("uri", "", "")
    (note,) = names.notes
    assert all(name in note for name in columns.split()[1:])


def test_the_option_chooses_the_column_of_recordings():
    assert name_columns(["file", "path"], "path").uri == "path"
    with pytest.raises(UsageError, match=r"has no column 'wav' \(--audio-column\), it has file"):
        name_columns(["file"], "wav")

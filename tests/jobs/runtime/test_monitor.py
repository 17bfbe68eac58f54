"""Tests of `Monitor`: the progress of a run on a terminal, in lines and in JSON."""

import io
import json
from collections import Counter
from dataclasses import replace

import pytest
from rich.console import Console

from jobs.runtime import monitor as monitor_module
from jobs.runtime.monitor import Monitor, summary
from jobs.runtime.run_log import RunLog
from pipeline.clips import Container
from pipeline.progress import Counts
from pipeline.shards import Shard
from pipeline.table.commit_record import CommitRecord
from tests.support import wait_until


def _commit_record(clips, errors):
    return CommitRecord("s", clips, {"clips": clips}, errors, 3600.0, clips, {})


@pytest.fixture
def out():
    return io.StringIO()


def test_line_counts_committed_shards_and_shards_in_flight(out):
    with Monitor(RunLog(Console(file=out)), n_shards=3, n_clips=40) as monitor:
        monitor.shard_done(_commit_record(10, {"empty": 1}))
        monitor.set_in_flight([Counts(clips=4, audio_s=1800), Counts(6, 0, 0, Counter(nan=2))])
        line = monitor.progress_line()
    # 10 clips are committed, 4 and 6 are in flight; the audio is an hour and a half.
    assert line.startswith("clips 20/40, audio 90.0 min, windows 10, ")
    assert line.endswith("x real time, errors 3")


def test_containers_without_clips_are_named_and_skipped_members_are_counted(out):
    monitor = Monitor(RunLog(Console(file=out)), n_shards=9, n_clips=None)
    for i in range(8):
        tar = Container(f"/{i}.tar", "1-1", kind="tar")
        writer = {"passed_over": {".data": 2}}
        monitor.shard_done(replace(_commit_record(0, {}), container=tar, writer=writer))
    monitor.shard_done(replace(_commit_record(1, {}), container=Container("/9.tar", "1-1")))
    assert (monitor.without_clips, monitor.passed_over) == (8, {".data": 16})
    assert out.getvalue().splitlines()[0] == (
        "/0.tar: holds no clip; passed over 2 members of tars that are no recordings: .data 2"
    )
    assert out.getvalue().count("holds no clip") == 5


def test_long_recordings_show_their_progress_before_they_are_complete(out):
    monitor = Monitor(RunLog(Console(file=out)), n_shards=1, n_clips=1)
    half = Counts(open_clips=0.5, open_windows=720, open_audio_s=1800.0)
    monitor.set_in_flight([half])
    assert monitor.progress_line().startswith("clips 0/1, audio 30.0 min, windows 720, ")
    monitor.shard_done(_commit_record(1, {}))
    assert monitor.progress_line().startswith("clips 1/1, audio 60.0 min, windows 1, ")


def test_phase_is_shown_until_the_first_windows_are_embedded(out):
    monitor = Monitor(RunLog(Console(file=out)), n_shards=1, n_clips=1)
    monitor.start_phase("loading_model", "loading the model")
    assert out.getvalue() == "loading the model\n"
    assert monitor.progress_line() == "loading the model: 0 s so far"
    monitor.set_in_flight([Counts(open_windows=1, open_audio_s=2.5)])
    assert monitor.progress_line().startswith("clips 0/1, audio 2.5 s, windows 1, ")


def test_dumb_terminal_gets_lines_instead_of_a_bar(out, monkeypatch):
    monkeypatch.setattr(monitor_module, "LINE_EVERY_S", 0.01)
    monkeypatch.setenv("TERM", "dumb")
    console = Console(file=out, force_terminal=True, width=100)
    with Monitor(RunLog(console), n_shards=1, n_clips=2):
        wait_until(lambda: out.getvalue().count("clips 0/2") >= 3, timeout_s=20)
    assert "━" not in out.getvalue()
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_is_shown_repeatedly(is_terminal, out, monkeypatch):
    monkeypatch.setattr(monitor_module, "LINE_EVERY_S", 0.01)
    monkeypatch.setattr(monitor_module, "REFRESH_S", 0.01)
    console = Console(file=out, force_terminal=is_terminal, width=100)
    with Monitor(RunLog(console), n_shards=1, n_clips=2):
        wait_until(lambda: out.getvalue().count("clips 0/2, audio 0.0 s") >= 3, timeout_s=20)
    assert ("━" in out.getvalue()) == is_terminal


def test_failures_are_logged_as_they_happen(out):
    shard = Shard("abc", ())
    with Monitor(RunLog(Console(file=out, width=100)), n_shards=1, n_clips=2) as monitor:
        monitor.shard_retried(shard, 1, "disk [full]")
        monitor.shard_failed(shard, "disk [full]")
    output = out.getvalue()
    assert "shard abc: attempt 1 failed, retrying: disk [full]" in output
    assert "shard abc: given up: disk [full]" in output
    assert monitor.failed == [(shard, "disk [full]")]


def test_json_log_has_events_with_fields(out, monkeypatch):
    monkeypatch.setattr(monitor_module, "LINE_EVERY_S", 0.01)
    shard = Shard("abc", ())
    record = replace(
        _commit_record(10, {"empty": 1}),
        container=Container("s3://b/a.tar", "v1"),
        writer={"seconds": {"decode": 1.5}},
    )
    with Monitor(RunLog(Console(file=out), as_json=True), n_shards=3, n_clips=None) as monitor:
        monitor.shard_done(record)
        monitor.shard_retried(shard, 2, "disk full")
        monitor.shard_failed(shard, "disk full")
        wait_until(lambda: '"progress"' in out.getvalue(), timeout_s=20)
    events = {each["event"]: each for each in map(json.loads, out.getvalue().splitlines())}
    done, retried, failed, progress = (
        events[name] for name in ("shard_done", "shard_retried", "shard_failed", "progress")
    )
    assert (done["shard"], done["container"], done["clips"]) == ("s", "s3://b/a.tar", 10)
    assert (done["errors"], done["seconds"]) == ({"empty": 1}, {"decode": 1.5})
    assert "part" not in done
    assert (retried["shard"], retried["attempt"], retried["level"]) == ("abc", 2, "warning")
    assert (failed["shard"], failed["reason"], failed["level"]) == ("abc", "disk full", "error")
    assert failed["message"] == "shard abc: given up: disk full"
    assert progress["message"].startswith("shards 1/3, clips 10, ")
    assert (progress["shards"], progress["shards_done"], progress["clips"]) == (3, 1, 10)
    assert (progress["audio_s"], progress["errors"]) == (3600, {"empty": 1})
    assert "clips_todo" not in progress


def test_summary_names_errors_by_class(out):
    counts = Counts(12, 20, 7200.0, Counter(empty=1, undecodable=2))
    Console(file=out, width=80).print(summary("this run", counts, 3723.0, "/data/[x]"))
    output = out.getvalue()
    for cell in (
        "9",
        "2.0 h",
        "20",
        "empty 1, undecodable 2",
        "1 h 02 min",
        "1.9 x",
        "/data/[x]",
    ):
        assert cell in output

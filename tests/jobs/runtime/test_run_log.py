"""Tests of the JSON log: the fields of events, and that nothing else is printed."""

import io
import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
import soundfile
from rich.console import Console

from jobs.embed.failed_clip_log import FailedClipLog
from jobs.runtime.run_log import RunLog
from pipeline.io.storage import Storage
from tests.support import QUICK, ROOT, open_table, passtream, tone

SECRET = "very-secret-of-the-tests"
STORAGE = Storage((("secret", SECRET),))


@pytest.fixture
def out():
    return io.StringIO()


@pytest.fixture
def log(out):
    return RunLog(Console(file=out), as_json=True, storage=STORAGE)


def _events(text):
    return [json.loads(line) for line in text.splitlines()]


def test_event_is_one_line_of_json(log, out):
    before = datetime.now(UTC)
    log.report(
        "shard_failed", "line\nbreak [x]", "error", shard="abc", n=3, left_s=None, path="\udcff"
    )
    (event,) = _events(out.getvalue())
    assert datetime.fromisoformat(event.pop("time")).timestamp() >= before.timestamp() - 0.001
    assert event == {
        "level": "error",
        "event": "shard_failed",
        "message": "line\nbreak [x]",
        "shard": "abc",
        "n": 3,
        "path": "\udcff",
    }


def test_credentials_and_signatures_are_redacted_in_all_fields(log, out):
    signed = "https://host/a.wav?id=7&X-Amz-Signature=5f3c"
    log.report("x", f"{SECRET} {signed}", reason=signed, each=[SECRET], by_name={"a": SECRET})
    assert SECRET not in out.getvalue()
    assert "5f3c" not in out.getvalue()
    assert _events(out.getvalue())[0]["reason"] == "https://host/a.wav?id=7&X-Amz-Signature=***"


def test_text_log_has_messages_only_and_no_details(out):
    log = RunLog(Console(file=out, markup=False), storage=STORAGE)
    log.report("x", f"disk [full] of {SECRET}", "error", shard="abc")
    log.detail("y", "for programs")
    assert out.getvalue() == "disk [full] of ***\n"


@pytest.mark.parametrize(
    ("statement", "code", "level", "outcome_and_message"),
    [
        ("raise UsageError('no such file')", 2, "error", ("usage", "no such file")),
        ("raise ModelError('no weights')", 2, "error", ("usage", "no weights")),
        ("raise StoreError('disk full')", 3, "error", ("error", "disk full")),
        ("raise Stopped", 130, "warning", ("stopped", "stopped")),
        ("1 / 0", 1, "error", ("error", "ZeroDivisionError: division by zero")),
    ],
)
def test_other_output_and_the_end_of_the_run_are_events(
    statement, code, level, outcome_and_message
):
    script = f"""
import os, sys, warnings
from jobs.runtime.run_log import json_log
from jobs.runtime.stop_signals import Stopped
from models.errors import ModelError
from pipeline.errors import StoreError, UsageError
with json_log() as log:
    os.write(2, b"from C: \\xff\\n\\n")
    print("from Ray", flush=True)
    print("half a line", end="", file=sys.stderr)
    {statement}
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (code, "")
    events = _events(done.stderr)
    others = [each["message"] for each in events if each["event"] == "other_output"]
    assert others == ["from C: \\xff", "from Ray", "half a line"]
    (end,) = (each for each in events if each["event"] == "run_ended")
    assert (end["level"], end["exit_code"]) == (level, code)
    assert (end["outcome"], end["message"]) == outcome_and_message
    assert ("in <module>" in end.get("traceback", "")) == (code == 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["a", "b", "--hop-s", "0", "--log-format", "json"], "--hop-s must be greater than 0"),
        (["a", "b", "--no-such-option", "--log-format=json"], "No such option: --no-such-option"),
        (["--config", "{config}"], "name at least one SOURCE and the TABLE"),
    ],
)
def test_invalid_usage_is_an_event(options, message, tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text("log_format: json\nsources: [a]\n")
    done = passtream("embed", *(each.format(config=config) for each in options))
    assert (done.returncode, done.stdout) == (2, "")
    (end,) = _events(done.stderr)
    assert (end["event"], end["outcome"], end["exit_code"]) == ("run_ended", "usage", 2)
    assert message in end["message"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    for n in range(3):
        soundfile.write(folder / f"good-{n}.wav", tone(0.5, 32_000, seed=n), 32_000)
        (folder / f"broken-{n}.wav").write_text("not a recording")
    soundfile.write(folder / "short.wav", tone(0.01, 32_000), 32_000)
    return folder


@pytest.fixture(scope="module", params=["--in-process", "--on-ray"])
def run(request, corpus, tmp_path_factory):
    """A finished run with four errors among seven clips, and its table."""
    table = tmp_path_factory.mktemp("made") / "table"
    options = (*QUICK, "--shard-clips", 4, request.param, "--log-format", "json")
    return passtream("embed", corpus, table, *options), table


def test_run_logs_its_shards_and_failed_clips(run, corpus):
    done, table = run
    assert (done.returncode, done.stdout) == (4, ""), done.stderr
    events = _events(done.stderr)
    assert all({"time", "level", "event", "message"} <= each.keys() for each in events)
    kinds = [each["event"] for each in events]
    assert kinds[:4] == ["source", "phase", "run_started", "random_weights"]
    phases = [each["phase"] for each in events if each["event"] == "phase"]
    assert phases[0] == "loading_weights"
    assert phases[-2:] == ["loading_model", "embedding"]
    shards = {each["shard"]: each for each in events if each["event"] == "shard_done"}
    assert sorted(each["clips"] for each in shards.values()) == [3, 4]
    assert all(each["seconds"]["compute"] >= 0 for each in shards.values())
    failed = {each["clip"]: each for each in events if each["event"] == "clip_failed"}
    assert kinds.count("clip_failed") == len(failed) == 4
    short = failed[str(corpus / "short.wav")]
    assert (short["stage"], short["error_class"]) == ("window", "too_short")
    assert "--pad-short pads such clips" in short["reason"]
    for clip in failed.values():
        assert clip["shard"] in shards
        assert clip["level"] == "warning"
    end = events[-1]
    assert (end["event"], end["outcome"], end["exit_code"]) == ("run_ended", "too_many_errors", 4)
    assert (end["table"], end["clips"], end["shards_done"]) == (str(table), 7, 2)
    assert end["errors"] == end["table_errors"] == {"too_short": 1, "undecodable": 3}


def test_only_the_first_failed_clips_of_each_class_are_logged(run, log, out):
    table = open_table(run[1])
    failed = FailedClipLog(log, table, max_logged=2)
    records = list(table.commits.records(sorted(table.commits.ids())))
    for record in (*records, *records):
        failed.report(record)
    events = _events(out.getvalue())
    logged = [each["error_class"] for each in events if each["event"] == "clip_failed"]
    assert sorted(logged) == ["too_short"] * 2 + ["undecodable"] * 2
    (rest,) = (each for each in events if each["event"] == "clips_not_told")
    assert rest["error_class"] == "undecodable"
    assert str(run[1] / "errors") in rest["message"]


def test_unreadable_error_rows_do_not_end_the_run(run, log, out):
    table = open_table(run[1])
    records = table.commits.records(sorted(table.commits.ids()))
    record = next(each for each in records if each.errors)
    (run[1] / "errors").rename(run[1] / "gone")
    try:
        FailedClipLog(log, table).report(record)
    finally:
        (run[1] / "gone").rename(run[1] / "errors")
    (event,) = _events(out.getvalue())
    assert (event["event"], event["shard"]) == ("errors_not_read", record.shard)

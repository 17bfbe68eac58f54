"""Tests of `passtream status` on the tables of real runs."""

import json
import re
import shutil
import signal

import pytest
from rich.console import Console

from jobs.cli.status_text import show_status
from pipeline.io.storage import Storage
from pipeline.maintenance.run_record import RUN_NAME
from pipeline.table.store.open_store import open_store
from tests.servers import KEY, SECRET
from tests.support import (
    QUICK,
    assert_verified,
    kill_session,
    n_commits,
    passtream,
    start_passtream,
    wait_until,
    write_tones,
)

OPTIONS = (*QUICK, "--in-process", "--shard-clips", 1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Folder of three clips, the last of which is no audio."""
    folder = tmp_path_factory.mktemp("corpus")
    write_tones(folder, [0.5, 1.0])
    (folder / "torn.wav").write_bytes(b"RIFF")
    return folder


@pytest.fixture(scope="module")
def table(corpus, tmp_path_factory):
    """Folder of a table of a finished run."""
    folder = tmp_path_factory.mktemp("made") / "table"
    done = passtream("embed", corpus, folder, *OPTIONS, "--max-error-ratio", 1)
    assert done.returncode == 0, done.stderr
    return folder


def read_status(table, capsys, later_s=0.0):
    """Return the status of a table as text and as JSON data."""
    outputs = []
    for as_json in (True, False):
        now_s = json.loads(outputs[0])["now_s"] + later_s if outputs else None
        show_status(str(table), as_json, Console(soft_wrap=True), Storage(), now_s)
        outputs.append(capsys.readouterr().out)
    return outputs[1], json.loads(outputs[0])


def test_finished_run(table):
    done = passtream("status", table)
    assert (done.returncode, done.stderr) == (0, "")
    text = done.stdout
    assert f"table     {table}\n" in text
    assert f"model     {QUICK[1]} to 10 s, weights random:0, fp32\n" in text
    assert "run       finished\n" in text
    assert re.search(
        r" began .* ago \(20.* UTC\): 0 shards found done, 3 to do \(3 clips\)\n", text
    )
    assert re.search(r" ended .* ago \(20.* UTC\)\n", text)
    assert "shards    3 of 3 committed\nclips     2, 1.5 s\nwindows   2\n" in text
    assert "errors    1 (undecodable 1)\n" in text
    assert re.search(r"speed     [\d.]+ x real time, [\d.]+ clips/s in the run's .* commit\n", text)
    for absent in ("held by", "left", "failed", "note"):
        assert f"{absent} " not in text


def test_status_as_json(table):
    done = passtream("status", table, "--json")
    assert done.returncode == 0, done.stderr
    text = json.loads(done.stdout)
    assert (text["table"], text["routes"][0]["arch"]) == (str(table), QUICK[1])
    assert (text["standing"], text["shards"], text["clips"]) == ("finished", 3, 2)
    assert (text["audio_s"], text["windows"], text["errors"]) == (1.5, 2, {"undecodable": 1})
    assert text["run"]["outcome"] == "finished"
    assert text["run"]["started_s"] < text["last_commit_s"] <= text["run"]["ended_s"]
    assert text["overall"]["x_real_time"] == pytest.approx(1.5 / text["overall"]["wall_s"])
    assert (text["writer"], text["left_s"], text["notes"]) == (None, None, [])


def test_verify_accepts_the_record_of_a_run(table):
    assert (table / RUN_NAME).exists()
    assert_verified(table)


def test_table_without_a_record_of_a_run(table, tmp_path, capsys):
    older = tmp_path / "table"
    shutil.copytree(table, older)
    (older / RUN_NAME).unlink()
    text, found = read_status(older, capsys)
    assert "run       unknown: there is no record of a run\n" in text
    assert "shards    3 committed\n" in text
    assert (found["standing"], found["run"], found["clips"]) == ("unknown", None, 2)


def test_failed_shards_are_shown_with_their_reasons(corpus, table, tmp_path, capsys):
    damaged = tmp_path / "table"
    shutil.copytree(table, damaged)
    file = next((damaged / "clips").iterdir())
    (damaged / "_passtream" / "commits" / f"{file.stem}.json").unlink()
    file.unlink()
    file.mkdir()  # no file can replace a folder
    done = passtream("embed", corpus, damaged, *OPTIONS)
    assert done.returncode == 3, done.stderr
    text, found = read_status(damaged, capsys)
    assert "run       ended, but shards failed; the same command retries them\n" in text
    assert ": 2 shards found done, 1 to do (1 clip)\n" in text
    assert f"failed    1 shard\n          {file.stem}: {file} cannot be written" in text
    assert "shards    2 of 3 committed\n" in text
    assert (found["standing"], list(found["run"]["failed"])) == ("shards_failed", [file.stem])
    file.rmdir()
    again = passtream("embed", corpus, damaged, *OPTIONS, "--max-error-ratio", 1)
    assert again.returncode == 0, again.stderr
    assert "run       finished\n" in read_status(damaged, capsys)[0]


def test_run_in_progress_and_after_a_kill(tmp_path, capsys):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_tones(corpus, [8.0] * 60)
    process = start_passtream("embed", corpus, table, *OPTIONS, log=tmp_path / "log")
    try:
        wait_until(lambda: n_commits(table) >= 2 or process.poll() is not None)
        process.send_signal(signal.SIGSTOP)
        text, found = read_status(table, capsys)
        assert "run       running\n" in text
        assert f"held by   host {found['writer']['host']}, process {process.pid}\n" in text
        assert re.search(r"left      about \d+ (s|min)", text)
        assert f"shards    {found['shards']} of 60 committed\n" in text
        assert found["left_s"] > 0
    finally:
        kill_session(process)
    text, found = read_status(table, capsys)
    assert "run       apparently not running any more; the same command continues it" in text
    assert (found["standing"], found["writer"], found["left_s"]) == ("not_running", None, None)
    assert found["shards"] == n_commits(table) < 60


def test_stopped_run(tmp_path, capsys):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_tones(corpus, [8.0] * 60)
    process = start_passtream("embed", corpus, table, *OPTIONS, log=tmp_path / "log")
    try:
        wait_until(lambda: n_commits(table) >= 1 or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130, (tmp_path / "log").read_text()
    finally:
        kill_session(process)
    text, found = read_status(table, capsys)
    assert "run       stopped; the same command continues it\n" in text
    assert found["standing"] == "stopped"


def test_holder_of_the_lease_is_shown(moto, corpus):
    uri = f"{moto.new_bucket()}/table"
    flags = [f"{name}={value}" for name, value in moto.options.items()]
    flags = [part for each in flags for part in ("--storage-options", each)]
    run = passtream("embed", corpus, uri, *OPTIONS, "--max-error-ratio", 1, *flags)
    assert run.returncode == 0, run.stderr
    with open_store(uri, moto.storage()).lock():
        held = passtream("status", uri, *flags)
        as_json = passtream("status", uri, "--json", *flags)
    assert re.search(
        r"held by   host .*, process \d+, its lease renewed \d+ s ago by its clock", held.stdout
    )
    assert "run       finished\n" in held.stdout
    assert json.loads(as_json.stdout)["writer"]["pid"] > 0
    record = open_store(uri, moto.storage()).read(RUN_NAME).decode()
    for text in (record, held.stdout, held.stderr, as_json.stdout):
        assert SECRET not in text
        assert KEY not in text


def test_run_that_slows_down_shows_both_speeds(table, tmp_path, capsys):
    slow = tmp_path / "table"
    shutil.copytree(table, slow)
    began_s = json.loads((slow / RUN_NAME).read_text())["started_s"]
    commits = sorted((slow / "_passtream" / "commits").iterdir())
    for record, after_s in zip(commits, (100, 200, 800), strict=True):
        content = json.loads(record.read_text())
        content["writer"]["finished_s"] = began_s + after_s
        record.write_text(json.dumps(content))
    text, _ = read_status(slow, capsys)
    # One clip in the last ten minutes, and three clips in 800 s.
    assert re.search(
        r"speed     .*, 0\.00 clips/s in the last 10 min 00 s to the last commit\n", text
    )
    assert re.search(r" {10}.*, 0\.00 clips/s in the run's 13 min 20 s to the last commit\n", text)


def test_missing_table_is_refused(tmp_path):
    done = passtream("status", tmp_path / "nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nowhere': no passtream table there (no _passtream/table.json)" in done.stderr
    assert len(done.stderr.splitlines()) == 1

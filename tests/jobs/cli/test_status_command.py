"""`passtream status`: what it tells of real runs, by the command."""

import json
import re
import shutil
import signal

import pytest
from rich.console import Console

from jobs.cli.status_command import show_status
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
    """Three clips, the last of which is no audio."""
    folder = tmp_path_factory.mktemp("corpus")
    write_tones(folder, [0.5, 1.0])
    (folder / "torn.wav").write_bytes(b"RIFF")
    return folder


@pytest.fixture(scope="module")
def table(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "table"
    done = passtream("embed", corpus, folder, *OPTIONS, "--max-error-ratio", 1)
    assert done.returncode == 0, done.stderr
    return folder


def shown(table, capsys, later_s=0.0):
    """What a person sees, and a program."""
    told = []
    for as_json in (True, False):
        now_s = json.loads(told[0])["now_s"] + later_s if told else None
        show_status(str(table), as_json, Console(soft_wrap=True), Storage(), now_s)
        told.append(capsys.readouterr().out)
    return told[1], json.loads(told[0])


def test_a_finished_run(table):
    done = passtream("status", table)
    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout
    assert f"table     {table}\n" in told
    assert f"model     {QUICK[1]} to 10 s, weights random:0, fp32\n" in told
    assert "run       finished\n" in told
    assert re.search(
        r" began .* ago \(20.* UTC\): 0 shards found done, 3 to do \(3 clips\)\n", told
    )
    assert re.search(r" ended .* ago \(20.* UTC\)\n", told)
    assert "shards    3 of 3 committed\nclips     2, 1.5 s\nwindows   2\n" in told
    assert "errors    1 (undecodable 1)\n" in told
    assert re.search(r"speed     [\d.]+ x real time, [\d.]+ clips/s in the run's .* commit\n", told)
    for absent in ("held by", "left", "failed", "note"):
        assert f"{absent} " not in told


def test_for_programs(table):
    done = passtream("status", table, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["table"], told["routes"][0]["arch"]) == (str(table), QUICK[1])
    assert (told["standing"], told["shards"], told["clips"]) == ("finished", 3, 2)
    assert (told["audio_s"], told["windows"], told["errors"]) == (1.5, 2, {"undecodable": 1})
    assert told["run"]["outcome"] == "finished"
    assert told["run"]["started_s"] < told["last_commit_s"] <= told["run"]["ended_s"]
    assert told["overall"]["x_real_time"] == pytest.approx(1.5 / told["overall"]["wall_s"])
    assert (told["writer"], told["left_s"], told["notes"]) == (None, None, [])


def test_the_note_of_a_run_is_no_flaw_of_the_table(table):
    assert (table / RUN_NAME).exists()
    assert_verified(table)


def test_a_table_without_a_note(table, tmp_path, capsys):
    older = tmp_path / "table"
    shutil.copytree(table, older)
    (older / RUN_NAME).unlink()
    told, found = shown(older, capsys)
    assert "run       unknown: no run has left a note here\n" in told
    assert "shards    3 committed\n" in told
    assert (found["standing"], found["run"], found["clips"]) == ("unknown", None, 2)


def test_failed_shards_with_their_reasons(corpus, table, tmp_path, capsys):
    hurt = tmp_path / "table"
    shutil.copytree(table, hurt)
    file = next((hurt / "clips").iterdir())
    (hurt / "_passtream" / "commits" / f"{file.stem}.json").unlink()
    file.unlink()
    file.mkdir()  # nothing can be put in its place
    done = passtream("embed", corpus, hurt, *OPTIONS)
    assert done.returncode == 3, done.stderr
    told, found = shown(hurt, capsys)
    assert "run       ended, but shards failed; the same command tries them again\n" in told
    assert ": 2 shards found done, 1 to do (1 clip)\n" in told
    assert f"failed    1 shard\n          {file.stem}: {file} cannot be written" in told
    assert "shards    2 of 3 committed\n" in told
    assert (found["standing"], list(found["run"]["failed"])) == ("shards_failed", [file.stem])
    file.rmdir()
    again = passtream("embed", corpus, hurt, *OPTIONS, "--max-error-ratio", 1)
    assert again.returncode == 0, again.stderr
    assert "run       finished\n" in shown(hurt, capsys)[0]


def test_a_run_under_way_and_killed_in_the_middle(tmp_path, capsys):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_tones(corpus, [8.0] * 60)
    process = start_passtream("embed", corpus, table, *OPTIONS, log=tmp_path / "log")
    try:
        wait_until(lambda: n_commits(table) >= 2 or process.poll() is not None)
        process.send_signal(signal.SIGSTOP)
        told, found = shown(table, capsys)
        assert "run       running\n" in told
        assert f"held by   host {found['writer']['host']}, process {process.pid}\n" in told
        assert re.search(r"left      about \d+ (s|min)", told)
        assert f"shards    {found['shards']} of 60 committed\n" in told
        assert found["left_s"] > 0
    finally:
        kill_session(process)
    told, found = shown(table, capsys)
    assert "run       not running any more as far as can be told; the same command goes on" in told
    assert (found["standing"], found["writer"], found["left_s"]) == ("not_running", None, None)
    assert found["shards"] == n_commits(table) < 60


def test_a_run_that_was_stopped(tmp_path, capsys):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_tones(corpus, [8.0] * 60)
    process = start_passtream("embed", corpus, table, *OPTIONS, log=tmp_path / "log")
    try:
        wait_until(lambda: n_commits(table) >= 1 or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130, (tmp_path / "log").read_text()
    finally:
        kill_session(process)
    told, found = shown(table, capsys)
    assert "run       stopped; the same command goes on\n" in told
    assert found["standing"] == "stopped"


def test_who_holds_a_table_on_a_store(moto, corpus):
    uri = f"{moto.new_bucket()}/table"
    flags = [f"{name}={value}" for name, value in moto.options.items()]
    flags = [part for each in flags for part in ("--storage-options", each)]
    run = passtream("embed", corpus, uri, *OPTIONS, "--max-error-ratio", 1, *flags)
    assert run.returncode == 0, run.stderr
    with open_store(uri, moto.storage()).lock():
        held = passtream("status", uri, *flags)
        for_programs = passtream("status", uri, "--json", *flags)
    assert re.search(
        r"held by   host .*, process \d+, its lease renewed \d+ s ago by its clock", held.stdout
    )
    assert "run       finished\n" in held.stdout
    assert json.loads(for_programs.stdout)["writer"]["pid"] > 0
    note = open_store(uri, moto.storage()).read(RUN_NAME).decode()
    for text in (note, held.stdout, held.stderr, for_programs.stdout):
        assert SECRET not in text
        assert KEY not in text


def test_a_run_that_slows_down_shows_both_speeds(table, tmp_path, capsys):
    slow = tmp_path / "table"
    shutil.copytree(table, slow)
    began_s = json.loads((slow / RUN_NAME).read_text())["started_s"]
    commits = sorted((slow / "_passtream" / "commits").iterdir())
    for record, after_s in zip(commits, (100, 200, 800), strict=True):
        content = json.loads(record.read_text())
        content["writer"]["finished_s"] = began_s + after_s
        record.write_text(json.dumps(content))
    told, _ = shown(slow, capsys)
    # A clip in ten minutes, and three in 800 s.
    assert re.search(
        r"speed     .*, 0\.00 clips/s in the last 10 min 00 s to the last commit\n", told
    )
    assert re.search(r" {10}.*, 0\.00 clips/s in the run's 13 min 20 s to the last commit\n", told)


def test_no_table_is_bad_usage(tmp_path):
    done = passtream("status", tmp_path / "nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nowhere': no passtream table there (no _passtream/table.json)" in done.stderr
    assert len(done.stderr.splitlines()) == 1

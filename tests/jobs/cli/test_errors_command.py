"""Tests of `passtream errors`: failed clips and their reasons as text, JSON and CSV."""

import csv
import io
import json
import shutil

import pytest
import soundfile
from rich.console import Console

from jobs.cli import errors_command
from jobs.cli.errors_command import show_errors
from pipeline.io.storage import Storage
from pipeline.maintenance import error_rows
from pipeline.maintenance.error_rows import count_errors, read_errors
from tests.support import QUICK, open_table, passtream, tone

N_BROKEN = 5


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Folder of one good clip and seven clips that fail."""
    folder = tmp_path_factory.mktemp("corpus")
    soundfile.write(folder / "good.wav", tone(0.5, 32_000), 32_000)
    soundfile.write(folder / "short.wav", tone(0.01, 32_000), 32_000)
    (folder / "empty.wav").touch()
    for n in range(N_BROKEN):
        (folder / f"\x1b]0;owned\x07 {n}.wav").write_text("not a recording")
    return folder


@pytest.fixture(scope="module")
def table(corpus, tmp_path_factory):
    """Folder of a table that is embedded from the corpus."""
    folder = tmp_path_factory.mktemp("made") / "table"
    done = passtream("embed", corpus, folder, *QUICK, "--in-process", "--shard-clips", 3)
    assert done.returncode == 4, done.stderr
    return folder


def test_text_has_counts_and_then_each_clip(table, corpus):
    done = passtream("errors", table)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{table}: 7 errors of 8 clips"
    assert lines[1] == "  empty (1): The file has no bytes, or its audio has no samples."
    assert lines[3] == "  undecodable (5): No decoder can decode the file."
    assert f"  {corpus / 'empty.wav'}: is empty (0 bytes)" in lines
    assert sum("libsndfile" in line for line in lines) == N_BROKEN
    assert "\x1b" not in done.stdout
    assert f"{corpus}/\\x1b]0;owned\\x07 0.wav" in done.stdout


def test_rows_as_json_and_as_csv(table, corpus):
    rows = [json.loads(line) for line in passtream("errors", table, "--json").stdout.splitlines()]
    assert [row["class"] for row in rows] == ["empty", "too_short"] + ["undecodable"] * N_BROKEN
    assert rows[2]["uri"] == f"{corpus}/\x1b]0;owned\x07 0.wav"
    assert (rows[1]["stage"], rows[1]["member"]) == ("window", "")
    text = passtream("errors", table, "--csv").stdout
    assert "\x1b" not in text
    as_csv = list(csv.DictReader(io.StringIO(text)))
    assert [row["clip_id"] for row in as_csv] == [row["clip_id"] for row in rows]
    assert list(as_csv[0]) == list(rows[0])


@pytest.mark.parametrize(
    "options", [("--class", "empty,too_short"), ("--class", "too_short", "--class", "empty")]
)
def test_only_given_classes_are_shown(options, table):
    found = passtream("errors", table, "--json", *options).stdout.splitlines()
    assert [json.loads(line)["class"] for line in found] == ["empty", "too_short"]
    assert "undecodable" not in passtream("errors", table, *options).stdout


def test_limit_reports_the_number_of_further_errors(table):
    shown = passtream("errors", table, "--limit", 2).stdout
    assert shown.endswith("and 5 further errors; --limit 2 is reached\n")
    assert len(passtream("errors", table, "--limit", 2, "--json").stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--class", "too-short"), "unknown class 'too-short'; did you mean 'too_short'? The"),
        (("--json", "--csv"), "--json and --csv exclude each other"),
    ],
)
def test_invalid_options_are_refused(options, message, table):
    done = passtream("errors", table, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_missing_table_and_missing_file_are_reported(table, tmp_path):
    assert passtream("errors", tmp_path / "none").returncode == 2
    damaged = tmp_path / "table"
    shutil.copytree(table, damaged)
    shutil.rmtree(damaged / "errors")
    done = passtream("errors", damaged)
    assert done.returncode == 3
    assert "cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_table_without_errors(corpus, tmp_path):
    passtream("embed", corpus / "good.wav", tmp_path / "table", *QUICK, "--in-process")
    done = passtream("errors", tmp_path / "table")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/table: 0 errors of 1 clip\n")


def test_many_errors_are_read_in_batches_without_sorting(table, monkeypatch, capsys):
    monkeypatch.setattr(errors_command, "MAX_SORTED_ROWS", 0)
    monkeypatch.setattr(error_rows, "BATCH_ROWS", 1)
    found = open_table(table)
    counts = count_errors(found)
    rows = list(read_errors(found, counts))
    assert len(rows) == len({row["clip_id"] for row in rows}) == counts.classes.total() == 7
    show_errors(str(table), [], "text", None, Console(soft_wrap=True), Storage())
    assert capsys.readouterr().out.count("libsndfile") == N_BROKEN


def test_secrets_of_the_storage_options_are_not_shown(table, monkeypatch, capsys):
    storage = Storage((("secret", "short.wav"),))
    for form in ("text", "json", "csv"):
        show_errors(str(table), ["too_short"], form, None, Console(soft_wrap=True), storage)
    shown = capsys.readouterr().out
    assert "short.wav" not in shown
    assert "***" in shown


def test_errors_of_a_table_in_a_store(moto, corpus):
    table = f"{moto.new_bucket()}/table"
    pairs = [f"{name}={value}" for name, value in moto.options.items()]
    flags = [part for pair in pairs for part in ("--storage-options", pair)]
    done = passtream("embed", corpus, table, *QUICK, "--in-process", *flags)
    assert done.returncode == 4, done.stderr
    rows = passtream("errors", table, "--json", "--class", "empty", *flags).stdout.splitlines()
    assert [json.loads(row)["uri"] for row in rows] == [str(corpus / "empty.wav")]

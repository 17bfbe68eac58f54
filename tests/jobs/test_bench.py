"""`passtream bench`: that it runs and prints its tables; what the figures are is no test."""

import os
import re

import pytest

from jobs.figures import read_figures
from tests.pipeline.sources.corpora import wav, write_tar
from tests.support import FAST_ARCH, passtream, write_tones


def test_races_the_reference_in_turns():
    run = passtream(
        *("bench", "model", "--arch", FAST_ARCH, "--against", "hear21passt"),
        *("--cases", "timestamps", "--repeats", "1"),
    )
    assert run.returncode == 0, run.stderr
    assert "hear21passt 0.0.26" in run.stdout.splitlines()[0]
    row = r"\| timestamps of 10 s \| (\w+) \| ([\d.]+) \| (\d+) \| ([\d.]+) \|"
    rows = re.findall(row, run.stdout)
    assert [who for who, *_ in rows] == ["hear21passt", "passtream"]
    assert all(float(seconds) > 0 for _, seconds, _, _ in rows)
    assert rows[1][3] == "1.00"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--against", "vggish", "against must be hear21passt (got 'vggish')"),
        ("--cases", "windows,speed", "cases must be of windows, mix, timestamps, long"),
        ("--device", "tpu", "device must be of cpu, cuda (got 'tpu')"),
        ("--repeats", "0", "repeats must be at least 1 (got 0)"),
        ("--arch", "passt_xl", "unknown arch 'passt_xl'"),
    ],
)
def test_what_cannot_be_measured_is_refused(option, value, message):
    run = passtream("bench", "model", option, value)
    assert run.returncode == 2
    assert message in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_a_large_listing_is_planned_and_resumed():
    run = passtream("bench", "plan", "--objects", "3000", "--records", "100")
    assert run.returncode == 0, run.stderr
    steps = re.findall(r"\| (.+?) \| ([\d.]+) \| (\d+) \|", run.stdout)
    assert [step for step, *_ in steps] == [
        "list 3,000 objects and plan them",
        "the same in another order",
        "resume: find 100 commit records",
        "resume: list and plan 3,000 objects around them",
        "read 100 commit records for the totals",
    ]
    assert run.stdout.splitlines()[-1] == "the plan in another order is the same"


def test_the_feed_races_the_bare_decoder(tmp_path):
    write_tones(tmp_path, (1.0, 2.0, 3.0), 44_100)
    run = passtream("bench", "feed", tmp_path, "--repeats", "1")
    assert run.returncode == 0, run.stderr
    (row,) = re.findall(r"\| \.wav \| (\d+) \| ([\d.]+) \| (\d+) \| (\d+) \|", run.stdout)
    assert row[:2] == ("3", "0.00")
    assert all(int(speed) > 0 for speed in row[2:])


def test_the_feed_keeps_what_plan_reads(tmp_path):
    write_tones(tmp_path, (1.0,))
    write_tones(tmp_path / "more", (2.0,))
    os.rename(tmp_path / "more" / "000.wav", tmp_path / "x.WAVE")
    file = tmp_path / "figures.json"
    keep = ("--figures", file, "--name", "here")
    run = passtream(
        "bench", "feed", tmp_path / "000.wav", tmp_path / "x.WAVE", "--repeats", 1, *keep
    )
    assert run.returncode == 0, run.stderr
    assert f"kept in {file} as the core here" in run.stdout
    found = read_figures(file).cores["here"]
    assert [each.ending for each in found] == [".wav", ".wave"]
    assert all("; 2 given files of 0.00 h" in each.measured_on for each in found)
    planned = passtream("plan", tmp_path, "--figures", file)
    assert "of one core of here; from .wav " in planned.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plan", "--objects", "5", "--records", "6"), "records must be 1 to objects, 5"),
        (("feed", "--repeats", "0"), "repeats must be at least 1 (got 0)"),
        (("feed", "/nothing/there"), "source '/nothing/there': no such file or folder"),
        (("feed", "--name", "here"), "figures need a file and a name of what is measured"),
        (("feed", "--figures", "/no/f.json", "--name", "here"), "there is no folder /no"),
    ],
)
def test_what_cannot_be_timed_is_refused(arguments, message):
    run = passtream("bench", *arguments)
    assert run.returncode == 2
    assert message in run.stderr


def test_the_feed_times_files_alone(tmp_path):
    write_tar(tmp_path / "a.tar", {"0.wav": wav(32_000)})
    run = passtream("bench", "feed", tmp_path / "a.tar")
    assert run.returncode == 2
    assert "only files are timed, and there is none" in run.stderr

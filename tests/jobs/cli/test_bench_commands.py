"""Tests of `passtream bench`: the commands run and print their tables, at any speed."""

import argparse
import json
import os
import re
import subprocess
import sys
import textwrap

import pytest
import soundfile
import typer

from jobs.bench.model_options import add_options
from jobs.cli.bench_commands import bench_app
from jobs.plan.speeds import read_speeds
from tests.pipeline.sources.corpora import wav, write_tar
from tests.support import FAST_ARCH, QUICK_ARCH, ROOT, passtream, tone, write_tones


def table(text):
    """Return the cells of each row of a printed Markdown table, without its header."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_model_is_compared_with_the_reference():
    run = passtream(
        *("bench", "model", "--arch", FAST_ARCH, "--against", "hear21passt"),
        *("--cases", "windows", "--lengths", "0.5", "--precisions", "fp32", "--repeats", "1"),
    )
    assert run.returncode == 0, run.stderr
    assert "hear21passt 0.0.26" in run.stdout.splitlines()[0]
    rows = table(run.stdout)
    assert [name for _, name, *_ in rows][:2] == ["hear21passt", "passtream"]
    assert all(work.endswith(f" windows of 0.5 s, fp32, {FAST_ARCH}") for work, *_ in rows)
    assert all(float(median_s) > 0 for _, _, median_s, *_ in rows)
    assert rows[1][7] == "1.00"


@pytest.fixture
def minimal_env(tmp_path):
    """Environment of a Python without network, and without packages that the model can spare."""
    (tmp_path / "sitecustomize.py").write_text(
        textwrap.dedent("""
            import sys

            class Absent:
                NAMES = set(
                    "ray soundfile soxr av pyarrow pydantic typer fsspec s3fs rich click "
                    "hear21passt aiohttp".split()
                )

                def find_spec(self, name, path=None, target=None):
                    if name.partition(".")[0] in self.NAMES:
                        raise ModuleNotFoundError(f"there is no {name} on this machine", name=name)

            sys.meta_path.insert(0, Absent())

            import socket

            def refuse(*_):
                raise OSError("there is no network")

            socket.socket.connect = refuse
        """)
    )
    return os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}


def test_model_bench_runs_with_torch_alone(minimal_env, tmp_path):
    sound = tmp_path / "sound.wav"
    soundfile.write(sound, tone(1.0, 8_000), 8_000, subtype="PCM_16")
    command = [
        *(sys.executable, "-m", "jobs.bench.model", "--arch", f"{FAST_ARCH},openmic"),
        *("--cases", "windows", "--precisions", "fp32,bf16", "--lengths", "0.5"),
        *("--repeats", "1", "--sounds", sound, "--json"),
    ]
    run = subprocess.run(command, env=minimal_env, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    first, *others = map(json.loads, run.stdout.splitlines())
    assert "torch" in first["machine"]
    results = [each["result"] for each in others]
    ours = [row for row in results if row["who"] == "passtream"]
    keys = [(row["arch"], row["window_s"], row["precision"]) for row in ours]
    assert keys == [
        (arch, 0.5, precision) for arch in (FAST_ARCH, "openmic") for precision in ("fp32", "bf16")
    ]
    for row in ours:
        assert row["windows_per_s"] * row["window_s"] == pytest.approx(row["audio_h_per_h"])
        assert row["of_bf16_gemm"] > 0
        assert row["warm_up"] is None  # a CPU needs no warm-up
        if row["precision"] == "fp32":
            assert row["fidelity"] is None
        else:
            assert row["fidelity"].keys() == {"noise", "sounds"}
            assert row["fidelity"]["sounds"]["windows"] == 1
            assert all(0.99 < each["cosine_min"] < 1 for each in row["fidelity"].values())
    assert {row["who"] for row in results} == {
        *("passtream", "the same FLOPs as one GEMM", "the same FLOPs as bf16 GEMMs")
    }


def test_errors_of_the_module_are_one_line(minimal_env):
    command = [sys.executable, "-m", "jobs.bench.model", "--device", "cuda"]
    env = minimal_env | {"CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr == "device cuda: torch sees no GPU here; use --device cpu\n"


def test_memory_is_reported_early_and_at_the_end():
    run = passtream("bench", "model", "--arch", QUICK_ARCH, "--cases", "memory")
    assert run.returncode == 0, run.stderr
    found = re.search(
        r": ([\d.]+) GB after a tenth of the windows, ([\d.]+) GB at the end", run.stdout
    )
    assert 0 < float(found[1]) <= float(found[2])
    assert "40 windows of 10 s, fp32" in run.stdout


def test_kernels_are_reported_by_their_share_of_the_time():
    run = passtream("bench", "model", "--arch", QUICK_ARCH, "--cases", "kernels")
    assert run.returncode == 0, run.stderr
    assert re.search(r"kernels of \d+ windows of 10 s, fp32, [\d.]+ s in total:", run.stdout)
    assert re.search(r"\d+\.\d% +\d+ times \w+", run.stdout)


def test_both_command_lines_have_the_same_options():
    parser = argparse.ArgumentParser()
    add_options(parser)
    of_module = {action.dest: action.default for action in parser._actions if action.dest != "help"}
    command = typer.main.get_command(bench_app).commands["model"]
    of_command = {each.name: each.default for each in command.params}
    of_command["json"] = of_command.pop("as_json")
    assert {k: v for k, v in of_command.items() if k not in ("figures", "name")} == of_module


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--against", "vggish", "against must be hear21passt (got 'vggish')"),
        ("--cases", "windows,speed", "cases must be one of windows, mix, timestamps, long,"),
        ("--precisions", "fp8", "precisions must be one of fp32, tf32, bf16, fp16, int8 (got"),
        ("--lengths", "1,11", "must be 0.15 to 10 s (got 11)"),
        ("--lengths", "short", "lengths and repeats must be numbers"),
        ("--sounds", "/nothing.wav", "sounds: /nothing.wav cannot be read as WAV"),
        ("--device", "tpu", "device must be one of cpu, cuda (got 'tpu')"),
        ("--repeats", "0", "repeats must be at least 1 (got 0)"),
        ("--arch", "passt_xl", "unknown arch 'passt_xl'"),
    ],
)
def test_invalid_options_of_model_are_refused(option, value, message):
    run = passtream("bench", "model", option, value)
    assert run.returncode == 2
    assert message in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_plan_bench_lists_plans_and_resumes():
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


def test_feed_is_compared_with_the_bare_decoder(tmp_path):
    write_tones(tmp_path, (1.0, 2.0, 3.0), 44_100)
    run = passtream("bench", "feed", tmp_path, "--repeats", "1")
    assert run.returncode == 0, run.stderr
    (row,) = re.findall(r"\| \.wav \| (\d+) \| ([\d.]+) \| (\d+) \| (\d+) \|", run.stdout)
    assert row[:2] == ("3", "0.00")
    assert all(int(speed) > 0 for speed in row[2:])


def test_feed_saves_speeds_that_plan_reads(tmp_path):
    write_tones(tmp_path, (1.0,))
    write_tones(tmp_path / "more", (2.0,))
    os.rename(tmp_path / "more" / "000.wav", tmp_path / "x.WAVE")
    file = tmp_path / "figures.json"
    options = ("--figures", file, "--name", "here")
    run = passtream(
        "bench", "feed", tmp_path / "000.wav", tmp_path / "x.WAVE", "--repeats", 1, *options
    )
    assert run.returncode == 0, run.stderr
    assert f"saved to {file} as the core here" in run.stdout
    speeds = read_speeds(file).cores["here"]
    assert [each.ending for each in speeds] == [".wav", ".wave"]
    assert all("; 2 given files of 0.00 h" in each.measured_on for each in speeds)
    planned = passtream("plan", tmp_path, "--figures", file)
    assert "of one core of here; from .wav " in planned.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plan", "--objects", "5", "--records", "6"), "records must be 1 to objects, 5"),
        (("feed", "--repeats", "0"), "repeats must be at least 1 (got 0)"),
        (("feed", "/nothing/there"), "source '/nothing/there': no such file or folder"),
        (("feed", "--name", "here"), "--figures and --name go together"),
        (("feed", "--figures", "/no/f.json", "--name", "here"), "there is no folder /no"),
    ],
)
def test_invalid_options_of_plan_and_feed_are_refused(arguments, message):
    run = passtream("bench", *arguments)
    assert run.returncode == 2
    assert message in run.stderr


def test_feed_refuses_containers(tmp_path):
    write_tar(tmp_path / "a.tar", {"0.wav": wav(32_000)})
    run = passtream("bench", "feed", tmp_path / "a.tar")
    assert run.returncode == 2
    assert "only files are timed, and it has none" in run.stderr

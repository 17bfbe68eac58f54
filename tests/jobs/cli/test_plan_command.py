"""Tests of `passtream plan`: its hours, windows and errors are those that `embed` then writes."""

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import typer

from jobs.cli.main import app
from jobs.plan.speeds import shipped_speeds
from models.archs import DEFAULT_ARCH as ARCH_NAME
from tests.jobs.planning import ARCH, CPU, embed, plan
from tests.mixed_corpus import ERRORS, N_SOUND, encode, write_mixed
from tests.support import ROOT, error_rows, passtream, write_tones


def assert_plan_matches_table(planned, table):
    """Check that hours, windows, errors and rows of a plan are those of a table."""
    rows = pq.read_table(table / "clips", columns=["duration_s", "n_windows"]).to_pydict()
    assert planned["audio_s"] == pytest.approx(sum(rows["duration_s"]), rel=1e-6)
    assert planned["audio_h"] == pytest.approx(sum(rows["duration_s"]) / 3600, rel=1e-6)
    assert planned["windows"] == sum(rows["n_windows"])
    assert planned["clips_to_embed"] == planned["output"]["rows"]["clips"] == len(rows["n_windows"])
    errors = error_rows(table) if any((table / "errors").iterdir()) else {}
    assert planned["errors"] == Counter(error_class for error_class, _ in errors.values())


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return write_mixed(tmp_path_factory.mktemp("mixed") / "corpus")


@pytest.fixture(scope="module")
def embedded(mixed, tmp_path_factory):
    table = tmp_path_factory.mktemp("mixed-table") / "table"
    embed(mixed, table)
    return table


def test_plan_of_a_mixed_corpus_matches_its_table(mixed, embedded, tmp_path):
    planned = plan(mixed, tmp_path / "table", *ARCH)
    assert not (tmp_path / "table").exists()
    assert_plan_matches_table(planned, embedded)
    assert planned["errors"] == Counter(ERRORS.values())
    assert planned["clips"] == N_SOUND + len(ERRORS)
    files = [path for path in mixed.rglob("*") if path.is_file()]
    assert planned["bytes"] == sum(path.stat().st_size for path in files)
    # The header of a clip with an error can still give its rate, for all but three of these.
    assert sum(planned["sample_rates_hz"].values()) == N_SOUND + len(ERRORS) - 3
    assert sum(bin_["clips"] for bin_ in planned["durations_s"]) == N_SOUND
    assert planned["estimated"]["clips"] == 0
    assert planned["changes"] is None
    assert planned["table"] == str(tmp_path / "table")


def test_estimated_size_of_the_table_is_close(tmp_path):
    write_tones(tmp_path / "corpus", [0.3] * 40)
    options = (
        "--shard-clips",
        20,
        "--tables",
        "clips,windows",
        "--outputs",
        "embedding,logits,labels",
    )
    planned = plan(tmp_path / "corpus", *ARCH, *options)
    embed(tmp_path / "corpus", tmp_path / "table", *options)
    files = [path for path in (tmp_path / "table").rglob("*") if path.is_file()]
    written = sum(path.stat().st_size for path in files)
    assert planned["shards"] == 2
    assert 0.75 * written < planned["output"]["bytes"] < 1.25 * written


def test_complete_table_leaves_nothing_to_embed(mixed, embedded):
    planned = plan(mixed, embedded)
    n_clips = N_SOUND + len(ERRORS)
    assert planned["changes"]["done"] == {"clips": n_clips, "containers": 0}
    assert (planned["clips"], planned["windows"], planned["shards"]) == (0, 0, 0)


def test_lengths_without_a_header_are_estimated_and_nan_is_not_noticed(tmp_path):
    """Check the limits that the README names: MP3 without a frame count, and NaN samples."""
    folder = tmp_path / "corpus"
    (source,) = write_tones(folder, (20.0,))
    options = ("-c:a", "libmp3lame", "-b:a", "64k", "-write_xing", "0", "-id3v2_version", "0")
    encode(source, folder / "plain.mp3", *options)
    encode(source, folder / "a.webm", "-c:a", "libopus")
    whole = encode(source, tmp_path / "whole.flac", "-c:a", "flac").read_bytes()
    (folder / "cut.flac").write_bytes(whole[: len(whole) // 2])
    soundfile.write(folder / "nan.wav", np.full(640_000, np.nan), 32_000, subtype="FLOAT")
    planned = plan(folder, *ARCH)
    assert planned["estimated"]["by_ending"] == {".mp3": 1, ".webm": 1}
    assert planned["errors"] == {"truncated": 1}
    assert planned["audio_s"] == pytest.approx(80.0, abs=0.2)
    assert (
        "no exact length in the headers of 2 clips (.mp3 1, .webm 1)"
        in passtream("plan", folder, *ARCH).stdout
    )


def test_sample_is_scaled_up_and_reports_its_standard_error(tmp_path):
    durations_s = [0.5 + 0.05 * i for i in range(60)]
    write_tones(tmp_path / "corpus", durations_s)
    planned = plan(tmp_path / "corpus", *ARCH, "--sample", 30)
    assert planned["sample"]["clips"] == 30
    assert (planned["clips"], planned["windows"]) == (60, 60)
    sigma = planned["sample"]["audio_relative_standard_error"]
    # Half of 60 lengths with a spread of 0.44 of their mean: 0.44 / sqrt(30) * sqrt(1 / 2).
    assert 0.03 < sigma < 0.1
    assert planned["audio_s"] == pytest.approx(sum(durations_s), rel=4 * sigma)
    again = plan(tmp_path / "corpus", *ARCH, "--sample", 30)
    assert again == planned
    assert plan(tmp_path / "corpus", *ARCH, "--sample", 60)["sample"] is None


def test_hours_and_money_of_devices(tmp_path):
    write_tones(tmp_path / "corpus", [10.0] * 3)
    figures = tmp_path / "figures.json"
    one = {"arch": ARCH_NAME, "precision": "fp32", "windows_per_s": 0.01}
    figures.write_text(json.dumps({"devices": {"slow": [one]}}))
    options = ("--figures", figures, "--gpu", "slow", "--gpu", CPU, "--price", "slow=7.2")
    slow, cpu = plan(tmp_path / "corpus", *options)["devices"]
    # Three windows at 0.01 windows per second take 300 s, a twelfth of an hour at 7.2.
    assert slow["hours"] == pytest.approx(300 / 3600)
    assert slow["money"] == pytest.approx(0.6)
    assert not slow["work"][0]["is_converted"]
    (shipped,) = [each for each in shipped_speeds().devices[CPU] if each.precision == "fp32"]
    assert cpu["hours"] == pytest.approx(3 / shipped.windows_per_s / 3600)
    assert cpu["money"] is None
    text = passtream("plan", tmp_path / "corpus", *options).stdout
    assert "slow       5.0 min of one device, for the model alone, 0.60 at 7.2 per hour" in text


def test_cores_that_keep_a_device_busy(tmp_path):
    corpus = tmp_path / "corpus"
    (tone_10s, tone_20s) = write_tones(corpus, (10.0, 20.0))
    encode(tone_20s, corpus / "a.flac", "-c:a", "flac")
    encode(tone_10s, corpus / "b.aiff")
    figures = tmp_path / "figures.json"
    device = {"arch": ARCH_NAME, "precision": "fp32", "windows_per_s": 1.0}
    mine = [
        {"ending": ".wav", "audio_s_per_core_s": 0.5},
        {"ending": ".flac", "audio_s_per_core_s": 0.25},
    ]
    figures.write_text(json.dumps({"devices": {"fast": [device]}, "cores": {"mine": mine}}))
    options = ("--figures", figures, "--gpu", "fast", "--tables", "clips,timestamps")
    planned = plan(corpus, *options)
    decoding, (fast,) = planned["decoding"], planned["devices"]
    assert decoding["core"] == "mine"
    by_ending = {each["ending"]: each for each in decoding["by_ending"]}
    assert {e: by_ending[e]["audio_s"] for e in by_ending} == pytest.approx(
        {".wav": 30.0, ".flac": 20.0, ".aiff": 10.0}, abs=0.001
    )
    # 30 s at 0.5 and 20 s at 0.25; AIFF counts as FLAC, the slowest measured ending.
    assert decoding["core_hours"] == pytest.approx((60 + 80 + 40) / 3600)
    assert by_ending[".aiff"]["is_counted_as_slowest"]
    assert by_ending[".aiff"]["figure"]["ending"] == ".flac"
    assert not by_ending[".wav"]["is_counted_as_slowest"]
    # The device computes windows, which overlap, and timestamps.
    assert {each["work"] for each in fast["work"]} == {"windows", "timestamps"}
    assert planned["windows"] > planned["audio_s"] / 10
    assert fast["decode_cores"] == pytest.approx(decoding["core_hours"] / fast["hours"])
    text = passtream("plan", corpus, *options).stdout
    assert "decoding   3.0 min of one core of mine; from .flac 0.25, .wav 0.5 times real" in text
    assert ".aiff: not measured there, counted as the slowest measured, .flac 0.25" in text
    assert f"decode cores: {fast['decode_cores']:.1f} of mine keep one fast busy" in text
    shipped = plan(corpus, *options, "--core", "epyc-zen4")["decoding"]
    assert shipped["core_hours"] == pytest.approx((30 / 1524 + 20 / 819 + 10 / 761) / 3600)


def test_nothing_to_embed_needs_no_cores(mixed, embedded):
    planned = plan(mixed, embedded, "--gpu", CPU)
    assert planned["decoding"]["core_hours"] == 0
    assert planned["devices"][0]["decode_cores"] is None
    assert (
        "decod" not in passtream("plan", mixed, embedded, "--gpu", CPU).stdout.partition("note")[0]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--core", "m7i"), "core 'm7i': its speed is not known (known cores: epyc-zen4); on"),
        (("--gpu", "A9"), f"gpu 'A9': its speed is not known (known devices: {CPU}); on such"),
        (("--gpu", CPU, "--precision", "fp16"), "its speed in fp16 is not known"),
        (("--price", "H100=2"), "price of H100: not among the devices of --gpu (none)"),
        (("--gpu", CPU, "--price", "2.50"), "price must be NAME=PRICE per hour"),
        (("--figures", "/nowhere.json"), "figures '/nowhere.json' cannot be read"),
        (("--table", "/usr"), "is no passtream table"),
        (("--window-s", "99"), "--window-s must be at most"),
        (("/nowhere",), "'/nowhere': no such file or folder"),
    ],
)
def test_invalid_options_are_refused_in_one_line(tmp_path, options, message):
    (path,) = write_tones(tmp_path, (0.5,))
    done = (
        passtream("plan", *options[:1], path, *options[1:])
        if options[0] == "/nowhere"
        else (passtream("plan", path, *options))
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_plan_without_a_source_is_refused():
    done = passtream("plan")
    assert (done.returncode, done.stdout) == (2, "")
    assert "name at least one SOURCE" in done.stderr


def test_plan_imports_neither_torch_nor_ray(tmp_path):
    (path,) = write_tones(tmp_path, (0.5,))
    script = (
        "import sys; from jobs.plan.make_plan import make_plan; "
        "from jobs.plan.plan_request import PlanRequest; "
        "make_plan(PlanRequest((sys.argv[1],))); "
        "print(sorted({'torch', 'ray'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script, path], cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"[]\n")


def test_repeated_options_of_names_add_up(tmp_path):
    write_tones(tmp_path / "corpus", [0.3] * 5)
    patterns = [x for n in range(4) for x in ("--exclude", f"00{n}.wav")]
    assert plan(tmp_path / "corpus", *ARCH, *patterns)["clips"] == 1
    kept = ("--include", "000.wav,001.wav", "--include", "002.wav")
    assert plan(tmp_path / "corpus", *ARCH, *kept)["clips"] == 3


def test_every_option_of_several_names_may_be_repeated():
    commands = typer.main.get_command(app).commands
    multiple = {
        (name, option.name)
        for name in ("embed", "plan", "verify", "retry")
        for option in commands[name].params
        if getattr(option, "multiple", False)
    }
    names = {"include", "exclude", "columns", "tables", "outputs", "storage_options"}
    assert multiple >= {(command, name) for command in ("embed", "plan") for name in names}
    assert multiple >= {("embed", "retry"), ("retry", "classes"), ("retry", "storage_options")}
    assert multiple >= {("verify", name) for name in ("include", "exclude", "storage_options")}


def test_default_device_is_the_shipped_cpu(tmp_path):
    write_tones(tmp_path / "corpus", [10.0] * 3)
    planned = plan(tmp_path / "corpus")
    (shipped,) = [each for each in shipped_speeds().devices[CPU] if each.precision == "fp32"]
    assert planned["devices"] == []
    assert planned["default_device"]["name"] == CPU
    assert planned["default_device"]["hours"] == pytest.approx(3 / shipped.windows_per_s / 3600)
    text = passtream("plan", tmp_path / "corpus").stdout
    assert f"time       about 4.0 s on {CPU} in fp32, the model alone\n" in text
    assert "FLOP" not in text
    half = passtream("plan", tmp_path / "corpus", "--precision", "fp16").stdout
    assert "time       no known speed of a device in fp16" in half


def test_default_device_is_the_users_own(tmp_path):
    write_tones(tmp_path / "corpus", [10.0] * 3)
    figures = tmp_path / "figures.json"
    one = {"arch": ARCH_NAME, "precision": "fp32", "windows_per_s": 0.01}
    figures.write_text(json.dumps({"devices": {"laptop": [one]}}))
    text = passtream("plan", tmp_path / "corpus", "--figures", figures).stdout
    assert "time       about 5.0 min on laptop in fp32, the model alone\n" in text

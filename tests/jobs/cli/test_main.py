"""Tests of the `passtream` command: help, refusals before a run starts, and printed text."""

import json
import re
import shutil

import pytest

from jobs.cli.main import app
from jobs.settings.config import EmbedConfig
from models.archs import DEFAULT_ARCH
from tests.support import QUICK, n_commits, passtream, write_tones


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Folder of three clips and a file that is no audio."""
    folder = tmp_path_factory.mktemp("corpus")
    write_tones(folder, [0.4, 0.5, 0.6])
    (folder / "notes.txt").write_text("not audio")
    return folder


@pytest.fixture(scope="module")
def table(corpus, tmp_path_factory):
    """Folder of a table that has the clips of the corpus."""
    folder = tmp_path_factory.mktemp("made") / "table"
    done = passtream("embed", corpus, folder, *QUICK, "--in-process")
    assert done.returncode == 0, done.stderr
    assert "3 clips (skipped 1 other file: .txt 1)" in done.stderr
    return folder


def test_help_shows_every_setting_in_panels():
    shown = passtream("embed", "--help", env={"COLUMNS": "120"}).stdout
    for panel in ("Model", "Windows", "Table", "Where it runs"):
        assert f"─ {panel} ─" in shown
    for name in set(EmbedConfig.model_fields) - {"sources", "table"}:
        assert f"--{name.replace('_', '-')}" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--window-s", "12"], "--window-s must be at most 10.0 for arch"),
        (
            ["--long-clips", "route", "--window-s", "30"],
            "--window-s goes with --long-clips window only",
        ),
        (["--outputs", "labels", "--top-k", "600"], "--top-k must be 1 to 527"),
        (["--weights", "nowhere.pt"], "weights 'nowhere.pt': no such file"),
        (["--weights", "README.md"], "weights 'README.md': "),
        (["--no-such-option"], "No such option"),
    ],
)
def test_bad_settings_exit_2_before_anything_starts(options, message, corpus, tmp_path):
    done = passtream("embed", corpus, tmp_path / "table", *QUICK, *options)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "table").exists()


def test_bad_sources_and_tables_exit_2(corpus, tmp_path):
    for source, message in (
        (tmp_path / "nowhere", "no such file or folder"),
        (tmp_path / "*.wav", "the glob matches no file"),
        ("nosuch://bucket/prefix", "the scheme 'nosuch' is not one of a store"),
        (tmp_path, "no audio files in"),
    ):
        done = passtream("embed", source, tmp_path / "table", *QUICK)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    file = corpus / "notes.txt"
    done = passtream("embed", corpus, file, *QUICK)
    assert (done.returncode, "is a file" in done.stderr) == (2, True), done.stderr
    done = passtream("embed", corpus, corpus, *QUICK)
    assert (done.returncode, "holds other files" in done.stderr) == (2, True), done.stderr
    done = passtream("embed", corpus)
    assert (done.returncode, "SOURCE... TABLE" in done.stderr) == (2, True), done.stderr


def test_missing_weights_are_reported_with_ways_out(corpus, tmp_path):
    # A proxy that refuses every connection simulates a machine without a network.
    env = {"https_proxy": "http://127.0.0.1:9", "PASSTREAM_CACHE": str(tmp_path / "cache")}
    done = passtream("embed", corpus, tmp_path / "table", env=env)
    assert done.returncode == 2
    path = tmp_path / "cache" / "checkpoints" / "passt-s-f128-p16-s10-ap.476-swa.pt"
    lines = done.stderr.splitlines()
    assert lines[-5].startswith(
        f"passtream: the weights of {DEFAULT_ARCH} are not cached and cannot"
    )
    assert lines[-4] == "  for a trial, use random weights: --weights random:0"
    assert lines[-3].endswith(f" elsewhere, and put that file at {path}")
    assert "PASSTREAM_MODELS" in lines[-2]
    assert lines[-1] == "  or use a checkpoint file of your own: --weights FILE"


def test_config_file_may_have_every_setting(corpus, tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text(
        f"sources: [{corpus}]\ntable: {tmp_path}/table\narch: {QUICK[1]}\nweights: random:0\n"
        "window_s: 5\ntables: clips,windows\nshard_clips: 1\nin_process: true\n"
    )
    done = passtream("embed", "--config", config, "--shard-clips", 2)
    assert done.returncode == 0, done.stderr
    assert n_commits(tmp_path / "table") == 2  # 3 clips, 2 per shard: the option overrides the file
    spec = json.loads((tmp_path / "table/_passtream/table.json").read_text())["spec"]
    assert (spec["window_s"], spec["tables"]) == (5, ["clips", "windows"])
    (route,) = spec["routes"]
    assert (route["weights_origin"], route["up_to_s"]) == ("random:0", 5)


def test_config_with_an_unknown_setting_is_refused(tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text("sources: [a]\ntable: b\nwidnow_s: 5\n")
    done = passtream("embed", "--config", config)
    assert done.returncode == 2
    assert "unknown setting 'widnow_s'; did you mean 'window_s'? The settings are: " in done.stderr


def test_settings_that_differ_from_the_table_are_named(corpus, table):
    done = passtream("embed", corpus, table, *QUICK, "--hop-s", "5")
    assert done.returncode == 2
    assert "hop_s: 2.5, 5.0" in done.stderr


def test_second_run_has_nothing_to_do(corpus, table):
    done = passtream("embed", corpus, table, *QUICK)
    assert done.returncode == 0, done.stderr
    assert "resuming: 1 shard found done, 0 to do (0 clips)" in done.stderr


def test_only_new_clips_of_a_grown_source_are_embedded(corpus, table, tmp_path):
    grown, copy = tmp_path / "table", tmp_path / "corpus"
    shutil.copytree(table, grown)
    write_tones(copy, [0.7])
    done = passtream("embed", corpus, copy, grown, *QUICK, "--in-process")
    assert done.returncode == 0, done.stderr
    assert "resuming: 1 shard found done, 1 to do (1 clip)" in done.stderr
    checked = passtream("verify", grown, "--source", corpus, "--source", copy)
    assert (checked.returncode, checked.stdout.splitlines()[-1]) == (0, "passed")


def test_exit_code_4_depends_on_the_clips_of_this_run(tmp_path):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_tones(corpus, [0.5, 0.01])
    first = passtream("embed", corpus, table, *QUICK, "--in-process")
    assert first.returncode == 4, first.stderr
    assert "1 of the 2 clips of this run is an error, more than --max-error-ratio" in first.stdout
    again = passtream("embed", corpus, table, *QUICK, "--in-process")
    assert again.returncode == 0, again.stderr
    assert "nothing to do: all clips of the source are in the table" in again.stdout
    assert "the table now: 1 clip with 0.5 s of audio, 1 error (50.0% of its clips)" in again.stdout
    write_tones(corpus / "more", [0.6])
    grown = passtream("embed", corpus, table, *QUICK, "--in-process")
    assert grown.returncode == 0, (
        grown.stderr
    )  # the new clip is no error; the old error is only shown
    assert "1 error (33.3% of its clips)" in grown.stdout
    failed = passtream("retry", table, "--in-process")
    assert failed.returncode == 4, failed.stderr
    allowed = passtream(
        "embed", corpus, tmp_path / "other", *QUICK, "--in-process", "--max-error-ratio", "0.5"
    )
    assert allowed.returncode == 0, allowed.stderr


def test_end_of_a_run_shows_the_first_failed_clips_of_each_class(tmp_path):
    corpus, table = tmp_path / "corpus", tmp_path / "the table"
    write_tones(corpus, [0.5, 0.01])
    for n in range(4):
        (corpus / f"\x1b[2J{n}.wav").write_text("not a recording")
    done = passtream("embed", corpus, table, *QUICK, "--in-process")
    assert "  too_short (1): The audio is shorter than the model accepts" in done.stdout
    assert "  undecodable (4): No decoder can decode the file.\n" in done.stdout
    assert done.stdout.count("\\x1b[2J") == 3
    assert "\n    and 1 more\n" in done.stdout
    assert f"all errors: passtream errors '{table}'\n" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_verify_prints_text_and_json(corpus, table):
    done = passtream("verify", table, "--source", corpus)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "passed")
    report = json.loads(passtream("verify", table, "--json").stdout)
    assert (report["passed"], report["clips"], report["shards"]) == (True, 3, 1)


def test_verify_finds_damage(table, tmp_path):
    damaged = tmp_path / "table"
    shutil.copytree(table, damaged)
    file = next((damaged / "clips").iterdir())
    file.write_bytes(file.read_bytes()[:-100])
    done = passtream("verify", damaged)
    assert done.returncode == 1
    assert f"{file.parent.name}/{file.name} has" in done.stdout
    assert passtream("verify", tmp_path / "nothing").returncode == 2


COMMANDS = [
    *("embed", "plan", "errors", "retry", "verify", "status", "submit"),
    *("job list", "job status", "job logs", "job stop"),
    *("models list", "models show", "models pull"),
    *("bench model", "bench feed", "bench plan", "bench overhead", "bench job"),
]


def test_help_of_every_command_shows_examples(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    for command in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            app([*command.split(), "-h"], prog_name="passtream")
        assert ended.value.code == 0
        lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
        assert max(map(len, lines)) <= 80
        shown = lines[lines.index("Examples:") + 1 :]
        assert [line for line in shown if line.startswith(f"passtream {command} ")] or shown[
            0
        ] == f"passtream {command}"


def test_version_and_choices_of_settings_are_shown(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        app(["--version"], prog_name="passtream")
    assert re.fullmatch(r"passtream \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)
    with pytest.raises(SystemExit):
        app(["embed", "--help"], prog_name="passtream")
    shown = capsys.readouterr().out
    for choices in ("fp32|tf32|bf16|fp16|int8", "window|route", "hear|none", "text|json"):
        assert choices in shown


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (("embed", "--wieghts", "x", "a", "b"), "--weights"),
        (("embde", "a", "b"), "Did you mean 'embed'?"),
    ],
)
def test_mistyped_options_and_commands_get_the_nearest_name(arguments, suggestion):
    done = passtream(*arguments)
    assert done.returncode == 2
    assert suggestion in done.stderr


def test_shells_complete_options_and_their_choices():
    env = {"_PASSTREAM_COMPLETE": "complete_bash", "COMP_CWORD": "3"}
    env |= {"COMP_WORDS": "passtream embed --precision b"}
    assert passtream(env=env).stdout.split() == ["bf16"]
    env |= {"COMP_WORDS": "passtream embed --arch passt_2"}
    assert passtream(env=env).stdout.split() == ["passt_20sec"]
    env |= {"COMP_WORDS": "passtream embed --max-clip", "COMP_CWORD": "2"}
    assert passtream(env=env).stdout.split() == ["--max-clip-s", "--max-clip-bytes"]


def test_names_that_a_terminal_cannot_show_are_escaped(tmp_path):
    env = {"PYTHONIOENCODING": "latin-1"}
    done = passtream("embed", tmp_path / "鳥", tmp_path / "t", env=env, fresh_process=True)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "\\u9ce5" in done.stderr


def test_refused_prune_does_not_announce_dropped_rows(corpus, table, tmp_path):
    other, copy = tmp_path / "other", tmp_path / "table"
    shutil.copytree(table, copy)
    write_tones(other, [0.7])
    done = passtream("embed", other, copy, *QUICK, "--in-process", "--prune")
    assert done.returncode == 2
    assert "Nothing was dropped" in done.stderr
    assert "are dropped" not in done.stderr

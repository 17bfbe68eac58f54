"""Control characters in file names, tables and manifests are printed as escapes."""

import json

import pytest

from tests.support import QUICK, passtream, write_tones

EVIL = "\x1b]0;owned\x07\x1b[2J\u202e"


@pytest.fixture
def table(tmp_path):
    write_tones(tmp_path / "corpus", (0.6,))
    (tmp_path / "corpus" / f"x{EVIL}.wav").write_bytes(b"no sound")
    table = tmp_path / "table"
    run = passtream(
        "embed", tmp_path / "corpus", table, *QUICK, "--in-process", "--max-error-ratio", 1
    )
    assert run.returncode == 0, run.stderr
    assert_printable(run)
    return table


def assert_printable(run):
    for text in (run.stdout, run.stderr):
        assert not set("\x1b\x07\u202e") & set(text), text


def test_status_errors_and_verify_of_an_untrusted_table_print_escapes(table, tmp_path):
    path = table / "_passtream" / "run.json"
    run_state = json.loads(path.read_text())

    def add_control_characters(value):
        if isinstance(value, dict):
            return {name: add_control_characters(each) for name, each in value.items()}
        return f"{value}{EVIL}\nrun finished" if isinstance(value, str) else value

    path.write_text(json.dumps(add_control_characters(run_state)))
    for command in (["status", table], ["errors", table], ["verify", table, "--source", tmp_path]):
        run = passtream(*command)
        assert_printable(run)
        assert "Traceback" not in run.stderr
        assert "\nrun finished" not in run.stdout


@pytest.mark.parametrize("command", ["embed", "plan"])
def test_messages_of_manifests_print_escapes(tmp_path, command):
    manifest = tmp_path / "list.jsonl"
    for row in ({"uri": f"http://h{EVIL}:99999/x"}, {"uri": 3, EVIL: 1}, {EVIL: 1}):
        manifest.write_text(json.dumps(row) + "\n")
        run = passtream(command, manifest, tmp_path / "table", *QUICK[:2])
        assert run.returncode == 2, run.stderr
        assert run.stderr.count("\n") == 1
        assert_printable(run)

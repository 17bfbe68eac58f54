"""Tests of manifests and of uris on standard input, from the command to the rows of the table."""

import re
import subprocess

import pyarrow.parquet as pq

from tests.support import QUICK, ROOT, assert_verified, command, passtream, write_tones


def test_spans_of_recordings_are_embedded_with_the_columns_of_the_manifest(tmp_path):
    write_tones(tmp_path / "corpus", (1.5, 2.0))
    manifest = tmp_path / "corpus" / "m.csv"
    manifest.write_text(
        "uri,speaker,start_s,end_s\n"
        "000.wav,Ann,0,0.5\n"
        "000.wav,Bob,0.50,1.5\n"
        "000.wav,Zoe,1.25,9\n"
        "001.wav,,,\n"
        "001.wav,Eve,7,8\n"
        "gone.wav,Dan,,\n"
    )
    table = tmp_path / "table"
    run = passtream("embed", manifest, table, *QUICK, "--in-process", "--max-error-ratio", "1")
    assert run.returncode == 0, run.stderr
    names = ["uri", "member", "start_s", "duration_s", "speaker", "decoded_short"]
    rows = pq.read_table(table / "clips", columns=names).to_pylist()
    one, other = (str(tmp_path / "corpus" / name) for name in ("000.wav", "001.wav"))
    assert [tuple(row.values()) for row in rows] == [
        (one, "t=0.0,0.5", 0.0, 0.5, "Ann", False),
        (one, "t=0.5,1.5", 0.5, 1.0, "Bob", False),
        (other, "", 0.0, 2.0, None, False),
    ]
    errors = pq.read_table(table / "errors", columns=["member", "class"]).to_pylist()
    assert [tuple(row.values()) for row in errors] == [
        ("t=1.25,9.0", "span_past_end"),
        ("t=7.0,8.0", "empty_span"),
        ("", "missing"),
    ]
    assert_verified(table)
    check = passtream("verify", table, "--source", manifest)
    assert check.returncode == 0, check.stdout
    assert "note: clips in the table" not in check.stdout


def test_manifest_columns_with_names_of_the_table_are_refused(tmp_path):
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"uri": "a.wav", "arch": "x", "labels": "y", "id": "z"}\n')
    run = passtream("embed", manifest, tmp_path / "table", *QUICK, "--in-process")
    assert run.returncode == 2
    assert "columns: 'arch' cannot be carried" in run.stderr


def test_uris_on_standard_input_are_embedded_and_verified(tmp_path):
    paths = write_tones(tmp_path / "corpus", (0.5, 1.0))
    table, uris = tmp_path / "table", "".join(f"{path}\n" for path in paths)
    for arguments in (
        ("embed", "-", table, *QUICK, "--in-process"),
        ("verify", table, "--source", "-"),
    ):
        run = subprocess.run(
            command(*arguments), cwd=ROOT, input=uris, capture_output=True, text=True, timeout=600
        )
        assert run.returncode == 0, run.stderr + run.stdout
    assert pq.read_table(table / "clips", columns=["uri"])["uri"].to_pylist() == list(
        map(str, paths)
    )


def test_plan_and_verify_carry_the_columns_of_the_table(tmp_path):
    write_tones(tmp_path / "corpus", (1.5,))
    manifest, table = tmp_path / "m.csv", tmp_path / "table"
    # Two speakers of one span: the rows agree only without that column.
    manifest.write_text(
        "audio_filepath,offset,duration,speaker,text\n"
        "corpus/000.wav,0.5,0.5,A,x\n"
        "corpus/000.wav,0.5,0.5,B,x\n"
    )
    run = passtream("embed", manifest, table, *QUICK, "--in-process", "--columns", "text")
    assert run.returncode == 0, run.stderr
    rows = pq.read_table(table / "clips", columns=["member", "duration_s", "text"]).to_pylist()
    assert rows == [{"member": "t=0.5,1.0", "duration_s": 0.5, "text": "x"}]
    for arguments in (("verify", table, "--source", manifest), ("plan", manifest, table)):
        done = passtream(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def test_corrected_manifest_values_are_reported_by_plan_and_verify_and_updated_by_embed(tmp_path):
    write_tones(tmp_path / "corpus", (0.5, 0.6))
    manifest, table = tmp_path / "m.csv", tmp_path / "table"
    content = "path,text\ncorpus/000.wav,one\ncorpus/001.wav,two\n"
    manifest.write_text(content)
    run = passtream("embed", manifest, table, *QUICK, "--in-process")
    assert run.returncode == 0, run.stderr
    manifest.write_text(content.replace("two", "zwei"))
    planned = passtream("plan", manifest, table)
    assert "other values of text in the table than in the source: 1 clip" in planned.stdout
    assert re.search("^new +0 clips", planned.stdout, re.M)
    check = passtream("verify", table, "--source", manifest)
    assert check.returncode == 1
    assert "clips whose text in the table are not those of the source: 1" in check.stdout
    run = passtream("embed", manifest, table, *QUICK, "--in-process")
    assert run.returncode == 0, run.stderr
    assert "1 clip had other values of text in the table than in the source" in run.stderr
    rows = pq.read_table(table / "clips", columns=["text"])["text"].to_pylist()
    assert sorted(rows) == ["one", "zwei"]
    assert passtream("verify", table, "--source", manifest).returncode == 0

"""Tests of `passtream plan` with every kind of source and with tables, local and in a store."""

import os
import re
import shutil
from collections import Counter

import pyarrow.parquet as pq
import pytest
import soundfile

from tests.jobs.planning import ARCH, embed, plan
from tests.mixed_corpus import write_mixed
from tests.pipeline.sources.corpora import wav, write_parquet, write_tar
from tests.servers import KEY, SECRET, moto_server
from tests.support import passtream, tone, write_tones


def storage_flags(server):
    """Return the options that give a test server's credentials and endpoint."""
    given = {"key": KEY, "secret": SECRET, "endpoint_url": server.url}
    return [x for pair in given.items() for x in ("--storage-options", "=".join(pair))]


def test_new_changed_gone_and_done_clips_are_counted(tmp_path):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_tones(corpus, (0.3, 0.4, 0.5, 0.6))
    embed(corpus, table)
    os.remove(corpus / "000.wav")
    soundfile.write(corpus / "001.wav", tone(11.0, 32_000), 32_000)
    write_tones(corpus / "more", (0.25, 0.75))
    planned = plan(corpus, "--table", table)
    counts = {name: each["clips"] for name, each in planned["changes"].items()}
    assert counts == {"new": 2, "changed": 1, "gone": 1, "done": 2}
    # The clip of 11 s has three windows.
    assert planned["audio_s"] == pytest.approx(12.0)
    text = passtream("plan", corpus, table).stdout
    for line in ("new        2 clips", "changed    1 clip\n", "gone       1 clip;"):
        assert line in text
    embed(corpus, table)
    rows = pq.read_table(table / "clips", columns=["uri", "n_windows"]).to_pylist()
    done = ("000.wav", "002.wav", "003.wav")
    n_windows = sum(
        row["n_windows"] for row in rows if not row["uri"].endswith(done) or "/more/" in row["uri"]
    )
    assert planned["windows"] == n_windows


def test_settings_that_differ_from_the_table_are_refused(tmp_path):
    write_tones(tmp_path / "corpus", (0.5,))
    embed(tmp_path / "corpus", tmp_path / "table")
    for options in (("--hop-s", 2), ("--arch", "passt_20sec")):
        done = passtream("plan", tmp_path / "corpus", tmp_path / "table", *options)
        assert done.returncode == 2
        assert "was made with other settings (table, this plan): " in done.stderr
        assert done.stderr.count("\n") == 1


def test_files_tars_and_parquet_of_the_same_audio_have_the_same_plan(tmp_path):
    mixed = write_mixed(tmp_path / "mixed")
    files = {path.name: path for path in sorted(mixed.rglob("*")) if path.is_file()}
    contents = {name: path.read_bytes() for name, path in sorted(files.items())}
    write_tar(tmp_path / "a.tar", contents)
    write_tar(tmp_path / "b.tar.gz", contents)
    write_parquet(tmp_path / "c.parquet", contents)
    expected = plan(mixed, *ARCH)
    for name in ("a.tar", "b.tar.gz", "c.parquet"):
        planned = plan(tmp_path / name, *ARCH)
        keys = ("clips", "audio_s", "windows", "sample_rates_hz", "durations_s", "errors", "routes")
        assert {key: planned[key] for key in keys} == {key: expected[key] for key in keys}
        # The bytes of the Parquet file are those of its audio column alone.
        assert planned["bytes"] == pytest.approx((tmp_path / name).stat().st_size, rel=0.01)


def test_manifest_with_spans_is_planned_as_it_is_embedded(tmp_path):
    write_tones(tmp_path / "corpus", (31.0, 2.0))
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        "uri,start_s,end_s,speaker\n"
        "corpus/000.wav,0,12.5,Ann\n"
        "corpus/000.wav,12.5,31,Bob\n"
        "corpus/000.wav,30,99,Bob\n"
        "corpus/000.wav,40,50,Bob\n"
        "corpus/001.wav,,,Eve\n"
        "corpus/gone.wav,,,Dan\n"
    )
    planned = plan(manifest, *ARCH)
    embed(manifest, tmp_path / "table")
    rows = pq.read_table(tmp_path / "table" / "clips", columns=["duration_s", "n_windows"])
    assert planned["audio_s"] == pytest.approx(33.0) == sum(rows["duration_s"].to_pylist())
    assert planned["windows"] == sum(rows["n_windows"].to_pylist())
    assert planned["errors"] == {"empty_span": 1, "missing": 1, "span_past_end": 1}


def test_source_and_table_in_a_store(moto, tmp_path):
    bucket = moto.new_bucket()
    files = moto.storage().filesystem(bucket)
    write_tones(tmp_path, (60.0, 0.5))
    write_tar(tmp_path / "a.tar", {"0.wav": wav(320_000), "1.wav": wav(32_000)})
    for name in ("000.wav", "001.wav"):
        files.put_file(str(tmp_path / name), f"{bucket}/corpus/{name}")
    files.put_file(str(tmp_path / "a.tar"), f"{bucket}/a.tar")
    flags = storage_flags(moto)
    planned = plan(f"{bucket}/corpus", f"{bucket}/a.tar", *ARCH, *flags)
    table = f"{bucket}/table"
    assert planned["audio_s"] == pytest.approx(60.5 + 11.0)
    assert planned["bytes"] > 9_000_000
    assert planned["requests"]["source"]["GET"] >= 3
    assert planned["requests"]["table"] == {}
    source = f"{bucket}/corpus/001.wav"
    planned = plan(source, "--table", table, *ARCH, *flags)
    assert planned["changes"] is None
    assert planned["requests"]["table"]["PUT"] > 0
    embed(source, table, *flags)
    planned = plan(f"{bucket}/corpus", table, *flags)
    counts = {name: each["clips"] for name, each in planned["changes"].items()}
    assert counts == {"new": 1, "changed": 0, "gone": 0, "done": 1}


def test_last_folder_that_is_no_table_is_a_source(tmp_path):
    write_tones(tmp_path / "corpus", (0.5,))
    shutil.copytree(tmp_path / "corpus", tmp_path / "same")
    report = plan(tmp_path / "corpus", tmp_path / "same", *ARCH)
    # The second folder is not empty and is no table, so it counts as a source.
    assert report["clips"] == 2
    assert report["devices"] == []
    assert report["table"] is None


def test_estimated_requests_are_close_to_the_requests_of_a_run(tmp_path):
    with moto_server(tmp_path) as server:
        bucket, files = server.new_bucket(), server.storage().filesystem("s3://")
        for path in write_tones(tmp_path / "corpus", [0.3] * 40):
            files.put_file(str(path), f"{bucket}/corpus/{path.name}")
        flags = storage_flags(server)
        source, table = f"{bucket}/corpus", f"{bucket}/table"
        options = ("--shard-clips", 4, *flags)
        planned = plan(source, "--table", table, *ARCH, *options)["requests"]
        (log,) = tmp_path.glob("moto.out")
        n_before = len(log.read_text())
        embed(source, table, *options)
        requests = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text()[n_before:])
    got = {"source": Counter(), "table": Counter()}
    for method, path in re.findall(r'"(GET|PUT|HEAD|DELETE) (\S+) HTTP', requests):
        kind = "LIST" if "list-type" in path else method
        got["table" if "/table" in path or "prefix=table" in path else "source"][kind] += 1
    for store, kinds in (("source", ("GET", "HEAD")), ("table", ("DELETE", "GET", "HEAD", "PUT"))):
        for kind in kinds:
            # There are 40 clips and ten shards, so an error of one request per shard would be 10.
            assert abs(got[store][kind] - planned[store][kind]) < 10, (store, kind, got, planned)

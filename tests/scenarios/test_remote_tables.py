"""Tests of `passtream embed` and `passtream verify` with a table on an S3 server."""

import json

import pytest

from pipeline.maintenance.verify import verify_table
from pipeline.table.store.open_store import open_store
from pipeline.table.table import Table
from tests.servers import KEY, SECRET
from tests.support import QUICK, passtream, write_tones

SHORT_S = (0.5, 0.7, 0.9)


@pytest.fixture
def corpus(tmp_path):
    write_tones(tmp_path / "corpus", SHORT_S)
    return tmp_path / "corpus"


def option_flags(server):
    given = [f"{name}={value}" for name, value in server.options.items()]
    return [part for each in given for part in ("--storage-options", each)]


@pytest.mark.parametrize(
    "runner", ["--in-process", pytest.param("--on-ray", marks=pytest.mark.slow)]
)
def test_embed_and_verify_on_s3(gateway, corpus, runner):
    uri = f"{gateway.new_bucket()}/deep/table"
    flags = option_flags(gateway)
    run = passtream("embed", corpus, uri, *QUICK, "--shard-clips", 2, runner, *flags)
    assert run.returncode == 0, run.stderr
    assert f"passtream verify {uri}" in run.stdout
    again = passtream("embed", corpus, uri, *QUICK, "--shard-clips", 2, runner, *flags)
    assert again.returncode == 0, again.stderr
    assert "resuming: 2 shards found done, 0 to do" in again.stderr
    verified = passtream("verify", uri, "--source", corpus, "--json", *flags)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    report = json.loads(verified.stdout)
    assert (report["shards"], report["clips"]) == (2, 3)
    for done in (run, again, verified):
        assert SECRET not in done.stdout + done.stderr
        assert KEY not in done.stdout + done.stderr


def test_a_config_file_sets_the_options_of_a_store(moto, corpus, tmp_path):
    uri = f"{moto.new_bucket()}/table"
    config = tmp_path / "run.yaml"
    settings = {"storage_options": moto.options, "store_timeout_s": 20, "in_process": True}
    config.write_text(json.dumps(settings))
    run = passtream("embed", "--config", config, corpus, uri, *QUICK)
    assert run.returncode == 0, run.stderr
    report = verify_table(Table.read(open_store(uri, moto.storage())))
    assert report.passed, report.problems


def test_an_unreachable_store_fails_in_time_and_in_one_line(corpus):
    flags = ("--storage-options", "endpoint_url=http://127.0.0.1:1", "--store-timeout-s", 1)
    keys = ("--storage-options", f"key={KEY}", "--storage-options", f"secret={SECRET}")
    run = passtream("embed", corpus, "s3://bucket/table", *QUICK, *flags, *keys)
    assert run.returncode == 3
    *_, line = run.stderr.splitlines()  # after the line with the format of SOURCE
    assert line.startswith("passtream: s3://bucket/table/_passtream/table.json cannot be read")
    assert "--store-timeout-s" in run.stderr
    assert SECRET not in run.stderr


def test_a_bad_option_is_refused_without_showing_its_value(corpus, tmp_path):
    run = passtream("embed", corpus, "s3://bucket/table", "--storage-options", SECRET)
    assert run.returncode == 2
    assert "NAME=VALUE" in run.stderr
    config = tmp_path / "run.yaml"
    config.write_text(json.dumps({"storage_options": [{"secret": SECRET}]}))
    wrong = passtream("embed", "--config", config, corpus, "s3://bucket/table")
    assert wrong.returncode == 2
    assert "storage_options" in wrong.stderr
    assert SECRET not in run.stderr + wrong.stderr


def test_an_unknown_kind_of_store_is_refused(corpus):
    run = passtream("embed", corpus, "nowhere://bucket/table", *QUICK)
    assert run.returncode == 2
    assert "nowhere://bucket/table" in run.stderr

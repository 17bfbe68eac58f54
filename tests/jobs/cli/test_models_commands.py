"""Tests of `passtream models`: list, show and pull, as text and as JSON."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
import torch

from models.archs import ALIASES, ARCHS
from models.checkpoints.state_dict import random_state_dict
from tests.support import ROOT, passtream, write_tones

ARCH = "passt_l_kd_p16_128_ap47"  # the smallest, 203 MB


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Folder of a cache that has one checkpoint."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "checkpoints").mkdir()
    spec = ARCHS[ARCH]
    torch.save(random_state_dict(spec, 0), folder / "checkpoints" / spec.file_name)
    return folder


@pytest.fixture
def env(cache, monkeypatch):
    """Environment with the cache and no model store, on a machine without the internet."""
    monkeypatch.delenv("PASSTREAM_MODELS", raising=False)
    return {"PASSTREAM_CACHE": str(cache), "https_proxy": "http://127.0.0.1:9"}


def models(*args, env):
    """Run `passtream models` and check that it prints no traceback."""
    done = passtream("models", *args, env=env)
    assert "Traceback" not in done.stderr
    return done


def test_list_has_a_line_per_arch_within_a_hundred_columns(env):
    done = models("list", env=env)
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert max(map(len, lines)) <= 100
    rows = {line.split()[0]: line.split(None, 7)[1:] for line in lines if line[0] != " "}
    assert rows.pop("arch")[-1] == "weights"
    assert list(rows) == list(ARCHS)
    assert rows[ARCH] == ["audioset", "10", "10", "320", "1190", "7", "cached"]
    assert rows["passt_20sec"] == ["audioset", "10", "20", "320", "2390", "12", "not here"]
    assert all(alias in done.stdout for alias in ALIASES)


def test_list_and_show_have_the_same_json(env):
    listed = json.loads(models("list", "--json", env=env).stdout)
    assert [facts["arch"] for facts in listed] == list(ARCHS)
    shown = json.loads(models("show", "passt_10sec", "--json", env=env).stdout)
    assert shown == listed[0]
    assert shown["arch"] == "passt_s_swa_p16_128_ap476"
    assert shown["hear_modules"] == ["base", "base2level", "base2levelF", "base2levelmel"]
    assert (shown["longest_window_tokens"], shown["longest_window_gflop"]) == (1190, 254.8)
    assert (shown["shortest_window_samples"], shown["mel_range_hz"]) == (4801, [0.0, 15000.0])
    assert (shown["weights"], shown["sha256"]) == ("absent", None)


def test_show_has_a_line_per_property(env, cache):
    lines = models("show", ARCH, env=env).stdout.splitlines()
    facts = {key: value.strip() for key, _, value in (line.partition(" ") for line in lines)}
    listed = json.loads(models("show", ARCH, "--json", env=env).stdout)
    assert list(facts) == list(listed)
    assert facts["aliases"] == "-"
    assert facts["grid"] == "12, 99"
    assert facts["location"] == str(cache / "checkpoints" / ARCHS[ARCH].file_name)


@pytest.mark.parametrize("args", [("list",), ("show", ARCH)])
def test_list_and_show_import_no_torch(args, env):
    code = (
        "import sys\nfrom jobs.cli.main import app\n"
        f"app({['models', *args]!r}, standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules or 'ray' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | env, capture_output=True
    )
    assert done.returncode == 0, done.stderr


def test_pull_fills_a_store_that_list_and_show_then_find(env, cache, tmp_path):
    store = tmp_path / "store"
    done = models("pull", ARCH, ARCH, "--to", store, env=env)
    assert done.returncode == 0, done.stderr
    file = store / ARCHS[ARCH].file_name
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert done.stdout == f"{file}  {len(content)} bytes  sha256 {digest}\n"
    env |= {"PASSTREAM_MODELS": str(store), "PASSTREAM_CACHE": str(tmp_path / "none")}
    assert models("list", env=env).stdout.count(" in store") == 1
    shown = json.loads(models("show", ARCH, "--json", env=env).stdout)
    assert (shown["weights"], shown["location"], shown["sha256"]) == ("store", str(file), digest)
    assert models("pull", ARCH, env=env).stdout == done.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("show", "passt_xl"), "unknown arch 'passt_xl'"),
        (("pull", ARCH, "passt_xl"), "unknown arch 'passt_xl'"),
        (("pull", ARCH, "--to", "nosuch://x"), "nosuch://x, where models are kept, cannot be"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(args, message, env):
    done = models(*args, env=env)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_failed_download_is_reported_with_ways_out(env):
    done = models("pull", "openmic", env=env)
    assert (done.returncode, done.stdout) == (2, "")
    first, *ways_out = done.stderr.splitlines()
    assert "the weights of openmic are not cached and cannot be downloaded" in first
    assert any("--weights FILE" in line for line in ways_out)


def test_unreadable_store_is_reported_in_one_line(env, tmp_path):
    (tmp_path / "file").write_text("")
    for store in ("nosuch://x", tmp_path / "file"):
        done = models("list", env=env | {"PASSTREAM_MODELS": str(store)})
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"passtream: {store}, where models are kept, cannot be read")


def test_embed_reports_how_to_fill_an_empty_store(env, tmp_path):
    write_tones(tmp_path / "corpus", [0.5])
    env |= {"PASSTREAM_MODELS": str(tmp_path / "store")}
    done = passtream("embed", "--arch", ARCH, tmp_path / "corpus", tmp_path / "table", env=env)
    assert done.returncode == 2
    assert f"passtream models pull {ARCH} --to {tmp_path / 'store'}" in done.stderr

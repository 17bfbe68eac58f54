"""A scheduled run on 100,000 recordings that have not changed: it ends soon, and touches nothing.

How long it takes is printed (`pytest -m slow -s`) and stands in BENCHMARKS.md.
"""

import json
import os
import time

import pytest

from tests.support import QUICK, passtream, assert_verified, write_tones

N_FOLDERS, N_EACH = 100, 1000
OPTIONS = (*QUICK, "--in-process", "--log-format", "json")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def grow(corpus, folder, n):
    """Recordings with other names: links cost nothing."""
    (corpus / folder).mkdir(parents=True)
    for i in range(n):
        os.link(corpus.parent / "tones" / f"{i % 100:03}.wav", corpus / folder / f"{i:04}.wav")


def run(what, corpus, table):
    began_s = time.monotonic()
    done = passtream("embed", corpus, table, *OPTIONS)
    ended = json.loads(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    print(f"{what}: {ended['clips']:,} clips embedded, {time.monotonic() - began_s:.1f} s")
    return ended["clips"]


def state(table):
    """Everything but the note that a run has been there."""
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in table.rglob("*")
        if path.is_file() and path.name not in ("run.json", "lock")
    }


def test_an_unchanged_corpus_costs_little_and_nothing_is_touched(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.support.RUN_TIMEOUT_S", 3000)
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_tones(tmp_path / "tones", [0.16] * 100, 8000)
    for i in range(N_FOLDERS):
        grow(corpus, f"{i:03}", N_EACH)
    assert run("first run", corpus, table) == N_FOLDERS * N_EACH
    before = state(table)
    assert run("unchanged", corpus, table) == 0
    assert state(table) == before
    grow(corpus, "050b", 70)
    assert run("grown by 70", corpus, table) == 70
    before = state(table)
    # From now on the listing is divided otherwise than the table: what that holds is looked up.
    assert run("unchanged after it had grown", corpus, table) == 0
    assert state(table) == before
    assert_verified(table)

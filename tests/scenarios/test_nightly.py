"""A scheduled run on 100,000 unchanged recordings ends soon and writes nothing to the table.

The test prints the duration of each run (`pytest -m slow -s`); BENCHMARKS.md records them.
"""

import json
import os
import time

import pytest

from tests.support import QUICK, assert_verified, passtream, write_tones

N_FOLDERS, N_EACH = 100, 1000
OPTIONS = (*QUICK, "--in-process", "--log-format", "json")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def add_recordings(corpus, folder, n):
    """Add `n` recordings to a corpus, as hard links, which take no time and no space."""
    (corpus / folder).mkdir(parents=True)
    for i in range(n):
        os.link(corpus.parent / "tones" / f"{i % 100:03}.wav", corpus / folder / f"{i:04}.wav")


def run(label, corpus, table):
    began_s = time.monotonic()
    done = passtream("embed", corpus, table, *OPTIONS)
    ended = json.loads(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    print(f"{label}: {ended['clips']:,} clips embedded, {time.monotonic() - began_s:.1f} s")
    return ended["clips"]


def file_states(table):
    """Return time and inode of all files of a table, except the files that every run writes."""
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in table.rglob("*")
        if path.is_file() and path.name not in ("run.json", "lock")
    }


def test_run_on_an_unchanged_corpus_does_not_touch_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.support.RUN_TIMEOUT_S", 3000)
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_tones(tmp_path / "tones", [0.16] * 100, 8000)
    for i in range(N_FOLDERS):
        add_recordings(corpus, f"{i:03}", N_EACH)
    assert run("first run", corpus, table) == N_FOLDERS * N_EACH
    before = file_states(table)
    assert run("unchanged", corpus, table) == 0
    assert file_states(table) == before
    add_recordings(corpus, "050b", 70)
    assert run("grown by 70", corpus, table) == 70
    before = file_states(table)
    # The listing is now divided into other shards than the table: the run compares clip by clip.
    assert run("unchanged after it had grown", corpus, table) == 0
    assert file_states(table) == before
    assert_verified(table)

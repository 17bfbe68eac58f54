"""A suspended run on Ray that loses its table to another run commits nothing when it resumes."""

import contextlib

import psutil
import pytest

from pipeline.table.store.local_lock import LOCK_NAME
from tests.support import (
    QUICK,
    assert_verified,
    children,
    kill_session,
    n_commits,
    passtream,
    start_passtream,
    vectors,
    wait_until,
    write_tones,
)

N_CLIPS = 60


@pytest.mark.slow
def test_actors_of_a_suspended_run_commit_nothing_after_another_run(tmp_path):
    corpus, table, log = tmp_path / "corpus", tmp_path / "table", tmp_path / "log"
    write_tones(corpus, [0.5] * N_CLIPS)
    options = (*QUICK, "--shard-clips", 1, "--actors", 1)
    first = start_passtream("embed", corpus, table, *options, log=log)
    try:
        wait_until(lambda: n_commits(table) >= 3, timeout_s=300)
        suspended = [psutil.Process(first.pid), *children(first.pid)]
        for process in suspended:
            process.suspend()
        n_before = n_commits(table)
        assert n_before < N_CLIPS
        # A network file system would drop the lock while the machine is suspended.
        (table / LOCK_NAME).unlink()
        second = passtream("embed", corpus, table, *QUICK, "--in-process", "--shard-clips", 4)
        assert second.returncode == 0, second.stderr
        n_after = n_commits(table)
        for process in suspended:
            with contextlib.suppress(psutil.Error):
                process.resume()
        assert first.wait(timeout=120) == 3, log.read_text()
    finally:
        kill_session(first)
    assert "has lost it to another one (host" in log.read_text()
    assert n_commits(table) == n_after
    assert assert_verified(table).clips == len(vectors(table)) == N_CLIPS

"""A process that stands still is replaced; when it wakes up, it changes nothing."""

import signal

import pytest

from tests.support import (
    FAST,
    assert_same_vectors,
    children,
    kill_session,
    n_commits,
    passtream,
    started,
    vectors,
    verified,
    wait_until,
    write_tones,
)

N_CLIPS = 30
OPTIONS = (*FAST, "--shard-clips", 2, "--tables", "clips,windows")

pytestmark = pytest.mark.timeout(600)


def test_an_actor_that_stood_still_changes_nothing_when_it_wakes_up(tmp_path):
    corpus, table, log = tmp_path / "corpus", tmp_path / "table", tmp_path / "log"
    corpus.mkdir()
    write_tones(corpus, [9.0 + 0.03 * i for i in range(N_CLIPS)])
    options = (*OPTIONS, "--actors", 2, "--actor-timeout-s", 4)
    process = started("embed", corpus, table, *options, log=log)
    try:
        wait_until(lambda: n_commits(table) >= 1 or process.poll() is not None)
        sleeper = children(process.pid, "ray::EmbedActor")[0]
        sleeper.send_signal(signal.SIGSTOP)
        wait_until(lambda: "said nothing for 4 s" in log.read_text() or process.poll() is not None)
        n_done = n_commits(table)
        # Its shards are done by others before it goes on.
        wait_until(lambda: n_commits(table) >= n_done + 3 or process.poll() is not None)
        if sleeper.is_running():
            sleeper.send_signal(signal.SIGCONT)
        assert process.wait(timeout=240) == 0, log.read_text()
    finally:
        kill_session(process)
    assert "said nothing for 4 s" in log.read_text()
    report = verified(table)
    assert (report.clips, report.shards) == (N_CLIPS, N_CLIPS // 2)
    clean = tmp_path / "clean"
    done = passtream("embed", corpus, clean, *OPTIONS, "--in-process")
    assert done.returncode == 0, done.stderr
    assert_same_vectors(vectors(table), vectors(clean), within=1e-5)

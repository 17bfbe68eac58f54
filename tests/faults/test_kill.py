"""Killed at random moments and run again: the table is that of an undisturbed run."""

import random
import re
import signal
import time

import pytest

from tests.support import (
    FAST,
    assert_same_vectors,
    children,
    kill_session,
    n_commits,
    passtream,
    start_passtream,
    vectors,
    assert_verified,
    wait_until,
    write_tones,
)

N_CLIPS = 24
SHARD_CLIPS = 3
N_SHARDS = N_CLIPS // SHARD_CLIPS
# Ten trials; a run and its repetition take most of a minute, so `make test` does one of them, and
# all that breaks on a cluster.
SEEDS = [pytest.param(seed, marks=[pytest.mark.slow] if seed else []) for seed in range(5)]
TOLERANCE = 1e-5
OPTIONS = (*FAST, "--shard-clips", SHARD_CLIPS, "--tables", "clips,windows")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_tones(folder, [1.5 + 0.125 * i for i in range(N_CLIPS)])
    return folder


@pytest.fixture(scope="module")
def undisturbed(corpus, tmp_path_factory):
    table = tmp_path_factory.mktemp("undisturbed") / "table"
    done = passtream("embed", corpus, table, *OPTIONS, "--in-process")
    assert done.returncode == 0, done.stderr
    return vectors(table)


def _wait_for_random_moment(rng, process, table):
    """Some shards in, and a bit; early enough that there is work left to disturb."""
    commits = rng.randrange(1, N_SHARDS - 2)
    wait_until(lambda: n_commits(table) >= commits or process.poll() is not None)
    time.sleep(rng.uniform(0, 0.4))


def _assert_whole(table, undisturbed):
    report = assert_verified(table)
    assert (report.clips, report.shards) == (N_CLIPS, N_SHARDS)
    assert_same_vectors(vectors(table), undisturbed, within=TOLERANCE)


@pytest.mark.parametrize("seed", SEEDS)
def test_driver_killed_then_run_again(seed, corpus, undisturbed, tmp_path):
    rng, table = random.Random(seed), tmp_path / "table"
    process = start_passtream("embed", corpus, table, *OPTIONS, log=tmp_path / "log")
    try:
        _wait_for_random_moment(rng, process, table)
        # Ray's own agents notice later; whatever could write is a worker, or keeps workers alive.
        below = [*children(process.pid, "ray::EmbedActor"), *children(process.pid, "raylet/raylet")]
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it had ended before"
    finally:
        kill_session(process)
    wait_until(lambda: not any(each.is_running() for each in below), timeout_s=20)
    n_done = n_commits(table)
    # On Ray or not: the table does not know the difference.
    where = "--on-ray" if seed % 2 else "--in-process"
    again = passtream("embed", corpus, table, *OPTIONS, where)
    assert again.returncode == 0, again.stderr
    if n_done:
        found = re.search(r"resuming: (\d+) shards? found done, (\d+) to do", again.stderr)
        assert found, again.stderr
        assert (int(found[1]), int(found[2])) == (n_done, N_SHARDS - n_done)
        # What it computed: its own table of results counts the rest only.
        rest = (N_SHARDS - n_done) * SHARD_CLIPS
        assert re.search(rf"clips embedded │ {rest}\b", again.stdout), again.stdout
    _assert_whole(table, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_actor_killed_during_the_run(seed, corpus, undisturbed, tmp_path):
    rng, table = random.Random(100 + seed), tmp_path / "table"
    log = tmp_path / "log"
    process = start_passtream("embed", corpus, table, *OPTIONS, log=log)
    try:
        _wait_for_random_moment(rng, process, table)
        actors = children(process.pid, "ray::EmbedActor")
        for actor in actors:
            actor.kill()
        assert process.wait(timeout=120) == 0, log.read_text()
        assert actors
        assert "try 1 failed, trying again: ActorDiedError" in log.read_text()
    finally:
        kill_session(process)
    again = passtream("embed", corpus, table, *OPTIONS)
    assert again.returncode == 0, again.stderr
    assert f"resuming: {N_SHARDS} shards found done, 0 to do" in again.stderr
    _assert_whole(table, undisturbed)


@pytest.mark.slow
def test_decoder_killed_during_the_run(tmp_path):
    """Of recordings so long that their decoders wait for the model most of the time."""
    corpus, table, log = tmp_path / "corpus", tmp_path / "table", tmp_path / "log"
    corpus.mkdir()
    write_tones(corpus, [600.0] * 3)
    options = (*FAST, "--shard-clips", 1, "--hop-s", 10)
    process = start_passtream("embed", corpus, table, *options, log=log)
    try:
        wait_until(lambda: children(process.pid, "ray::decode") or process.poll() is not None)
        time.sleep(2.0)
        decoders = children(process.pid, "ray::decode")
        for decoder in decoders:
            decoder.kill()
        assert process.wait(timeout=240) == 0, log.read_text()
        assert decoders
        assert "the decoding process died" in log.read_text()
    finally:
        kill_session(process)
    assert assert_verified(table).clips == 3
    done = passtream("embed", corpus, tmp_path / "clean", *options, "--in-process")
    assert done.returncode == 0, done.stderr
    assert_same_vectors(vectors(table), vectors(tmp_path / "clean"), within=TOLERANCE)

"""A run is killed at a random moment and run again: the table is that of an undisturbed run."""

import random
import re
import signal
import time

import pytest

from tests.support import (
    FAST,
    assert_same_vectors,
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

N_CLIPS = 24
SHARD_CLIPS = 3
N_SHARDS = N_CLIPS // SHARD_CLIPS
# Five trials kill drivers and five kill actors. A trial takes most of a minute, so `make test` runs
# only one of them.
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
def undisturbed_vectors(corpus, tmp_path_factory):
    table = tmp_path_factory.mktemp("undisturbed") / "table"
    done = passtream("embed", corpus, table, *OPTIONS, "--in-process")
    assert done.returncode == 0, done.stderr
    return vectors(table)


def _wait_for_random_moment(rng, process, table):
    """Wait for a random number of commits and a fraction of a second, with shards left to embed."""
    commits = rng.randrange(1, N_SHARDS - 2)
    wait_until(lambda: n_commits(table) >= commits or process.poll() is not None)
    time.sleep(rng.uniform(0, 0.4))


def _assert_complete(table, undisturbed_vectors):
    report = assert_verified(table)
    assert (report.clips, report.shards) == (N_CLIPS, N_SHARDS)
    assert_same_vectors(vectors(table), undisturbed_vectors, within=TOLERANCE)


@pytest.mark.parametrize("seed", SEEDS)
def test_run_after_a_killed_driver_resumes_its_table(seed, corpus, undisturbed_vectors, tmp_path):
    rng, table = random.Random(seed), tmp_path / "table"
    process = start_passtream("embed", corpus, table, *OPTIONS, log=tmp_path / "log")
    try:
        _wait_for_random_moment(rng, process, table)
        # Only actors could still write, and raylets keep them alive. Ray's agents end later.
        writers = [
            *children(process.pid, "ray::EmbedActor"),
            *children(process.pid, "raylet/raylet"),
        ]
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the run ended before the kill"
    finally:
        kill_session(process)
    wait_until(lambda: not any(each.is_running() for each in writers), timeout_s=20)
    n_done = n_commits(table)
    # A table may be resumed with or without Ray.
    runner = "--on-ray" if seed % 2 else "--in-process"
    again = passtream("embed", corpus, table, *OPTIONS, runner)
    assert again.returncode == 0, again.stderr
    if n_done:
        found = re.search(r"resuming: (\d+) shards? found done, (\d+) to do", again.stderr)
        assert found, again.stderr
        assert (int(found[1]), int(found[2])) == (n_done, N_SHARDS - n_done)
        # The summary counts only the clips that this run has embedded.
        rest = (N_SHARDS - n_done) * SHARD_CLIPS
        assert re.search(rf"clips embedded │ {rest}\b", again.stdout), again.stdout
    _assert_complete(table, undisturbed_vectors)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_run_survives_killed_actors(seed, corpus, undisturbed_vectors, tmp_path):
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
        assert "attempt 1 failed, retrying: ActorDiedError" in log.read_text()
    finally:
        kill_session(process)
    again = passtream("embed", corpus, table, *OPTIONS)
    assert again.returncode == 0, again.stderr
    assert f"resuming: {N_SHARDS} shards found done, 0 to do" in again.stderr
    _assert_complete(table, undisturbed_vectors)


@pytest.mark.slow
def test_run_survives_killed_decoders(tmp_path):
    """The recordings are so long that decoders wait for the model most of the time."""
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

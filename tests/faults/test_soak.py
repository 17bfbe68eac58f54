"""Soak test: random faults for SOAK_S seconds, run by `make soak`.

The command makes one table after the other on a cluster of several nodes. Meanwhile actors,
decoders, nodes and drivers are killed or suspended, and Ray's own calls fail at random. A command
that was killed or has given up shards is run again at once. SOAK_SEED repeats the faults of an
earlier test, but not their exact timing.
"""

import contextlib
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.faults.breakable import BreakableCluster, breakable_cluster
from tests.faults.corpus import OPTIONS, Corpus, assert_nothing_lost, write_corpus
from tests.support import kill_session, n_commits, start_passtream, wait_until

DURATION_S = float(os.environ.get("SOAK_S", "600"))
N_NODES, N_CLIPS = 3, 75
ACTOR_TIMEOUT_S = 15
MAX_WAIT_S = 10
MAX_FAULTS = 8  # per run; then the run continues without faults, so that it makes progress
RUN_LIMIT_S = 300
OK, SHARD_FAILED = 0, 3
# Percentage of Ray's calls that are not sent, that fail in flight, and whose response is lost.
RPC_FAULTS = {"req_failure_prob": 1, "in_flight_failure_prob": 1, "resp_failure_prob": 1}
ENV = {"RAY_testing_rpc_failure": json.dumps({"*": {"num_failures": -1, **RPC_FAULTS}})}

pytestmark = [pytest.mark.soak, pytest.mark.timeout(DURATION_S + 3600)]


@dataclass
class Soak:
    """The random faults, and the count of each kind."""

    cluster: BreakableCluster
    corpus: Corpus
    rng: random.Random
    counts: Counter[str] = field(default_factory=Counter)

    def make_table(self, folder: Path) -> None:
        """Run the command again and again until the table is complete."""
        table, code, n_runs = folder / "table", None, 0
        # A clip that kills two decoders becomes an error row, so each clip is used only once.
        clips = sorted(Path(uri).name for uri in self.corpus.expected)
        while code != OK:
            n_runs += 1
            log = folder / f"log-{n_runs}"
            address, timeout = self.cluster.address, ("--actor-timeout-s", ACTOR_TIMEOUT_S)
            options = (*OPTIONS, "--address", address, *timeout)
            run = start_passtream("embed", self.corpus.folder, table, *options, log=log, env=ENV)
            try:
                code = self._disturb(run, clips)
            except BaseException:
                print(log.read_text())
                raise
            finally:
                kill_session(run)
            self.counts["runs"] += 1
            self.counts["retries"] += log.read_text().count("retrying")
            self.counts["shards given up"] += log.read_text().count("given up")
            assert code in (OK, SHARD_FAILED, -9), log.read_text()
        assert_nothing_lost(table, self.corpus)
        self.counts["tables"] += 1
        self.counts["commits"] += n_commits(table)
        print(f"table {self.counts['tables']} after {n_runs} runs: {self.summary()}", flush=True)

    def summary(self) -> str:
        return ", ".join(f"{name} {n}" for name, n in sorted(self.counts.items()))

    def _disturb(self, run, clips: list[str]) -> int:
        """Cause a fault every few seconds, for a while; return the exit code of the run."""
        faults = [self._kill_actor, self._suspend_actor, self._kill_decoder, self._lose_node]
        limit = time.monotonic() + RUN_LIMIT_S
        for _ in range(self.rng.randint(0, MAX_FAULTS)):
            _sleep(run, self.rng.uniform(0, 5))
            if run.poll() is not None:
                break
            if self.rng.random() < 0.1:
                run.kill()
                self.counts["drivers killed"] += 1
                break
            with contextlib.suppress(psutil.NoSuchProcess):
                self.rng.choice(faults)(run, clips)
        return run.wait(timeout=max(0, limit - time.monotonic()))

    def _kill_actor(self, run, clips: list[str]) -> None:
        if actors := self._actors(run):
            self.rng.choice(actors).kill()
            self.counts["actors killed"] += 1

    def _actors(self, run) -> list[psutil.Process]:
        _sleep(run, MAX_WAIT_S, until=self.cluster.actors)
        return self.cluster.actors()

    def _suspend_actor(self, run, clips: list[str]) -> None:
        if actors := self._actors(run):
            actor = self.rng.choice(actors)
            actor.suspend()
            try:
                _sleep(run, self.rng.uniform(1, 2 * ACTOR_TIMEOUT_S))
            finally:
                actor.resume()
            self.counts["actors suspended"] += 1

    def _kill_decoder(self, run, clips: list[str]) -> None:
        """Kill the next decoder that opens one of the clips."""
        self.cluster.set_faults(dict.fromkeys(clips, "wait"))
        try:
            _sleep(run, MAX_WAIT_S, until=self.cluster.find_waiting_decoder)
            if found := self.cluster.find_waiting_decoder():
                decoder, clip = found
                decoder.kill()
                clips.remove(clip)
                self.counts["decoders killed"] += 1
        finally:
            self.cluster.set_faults({})

    def _lose_node(self, run, clips: list[str]) -> None:
        self.cluster.remove_node(self.rng.choice(self.cluster.nodes))
        self.counts["nodes lost"] += 1
        _sleep(run, self.rng.uniform(0, 8))
        self.cluster.add_node()


def _sleep(run, seconds: float, until: Callable[[], object] = lambda: False) -> None:
    """Sleep for `seconds`, but not beyond the end of the run or until `until` is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and run.poll() is None and not until():
        time.sleep(0.05)


def test_soak(tmp_path_factory):
    seed = int(os.environ.get("SOAK_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"\nSOAK_SEED={seed} SOAK_S={DURATION_S:g}", flush=True)
    corpus = write_corpus(tmp_path_factory.mktemp("corpus"), N_CLIPS)
    with breakable_cluster(N_NODES, tmp_path_factory.mktemp("site"), ENV) as cluster:
        soak = Soak(cluster, corpus, random.Random(seed))
        began_s = time.monotonic()
        try:
            while time.monotonic() < began_s + DURATION_S:
                soak.make_table(tmp_path_factory.mktemp("round"))
            wait_until(lambda: not cluster.actors())
        finally:
            seconds = time.monotonic() - began_s
            soak.counts["Ray's calls failed"] = cluster.count_in_logs("Inject RPC")
            print(f"SOAK_SEED={seed}, {seconds:.0f} s: {soak.summary()}", flush=True)

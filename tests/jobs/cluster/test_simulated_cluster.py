"""Tests of the scheduler in a simulation of 64 actors, with clips of half a second to three hours.

The plan and the scheduler are those of a run. Actors, decoders and the clock are simulated as
events in a heap, each at its time. An actor works like the real one: at most one pool of windows
per open shard waits for the model while the next pool is decoded, and a call of the model takes all
waiting pools.
"""

import heapq
import itertools
import math
import random
from dataclasses import dataclass, field

from jobs.cluster import scheduler
from jobs.cluster.scheduler import Attempt, Scheduler
from pipeline.clips import ClipRef
from pipeline.embedding.assembler import POOL_S
from pipeline.planning.plan import plan_shards

N_ACTORS = 64
N_SLOTS = 4
SHORTEST_S, LONGEST_S = 0.5, 3 * 3600.0
BYTES_PER_S = 32_000  # compressed audio
MODEL_SPEED = 3000.0  # seconds of audio per second
DECODER_SPEED = 1500.0
CALL_S = 0.002
COMMIT_S = 0.5


def draw_clips(n_clips, seed=0):
    """Return clips with log-uniform durations in seconds, and sizes that vary by a factor of 4."""
    rng = random.Random(seed)
    durations = {}
    for number in range(n_clips):
        duration_s = math.exp(rng.uniform(math.log(SHORTEST_S), math.log(LONGEST_S)))
        n_bytes = int(duration_s * BYTES_PER_S * rng.uniform(0.5, 2.0))
        durations[ClipRef(f"/{number:06}.mp3", "1", n_bytes=n_bytes)] = duration_s
    return durations


@dataclass(eq=False)
class OpenShard:
    """An open shard of an actor, with the number of its pools and of those decoded and embedded."""

    attempt: Attempt
    n_pools: int
    decoded: int = 0
    embedded: int = 0
    is_decoding: bool = False


@dataclass(eq=False)
class Actor:
    speed: float
    open: list[OpenShard] = field(default_factory=list)
    is_computing: bool = False
    busy_s: float = 0.0


class SimulatedCluster:
    """A simulated run; `now_s` and the actors' `busy_s` are its results in seconds."""

    def __init__(self, durations, speeds, seed=0):
        shards = plan_shards(durations, "spec", 256)
        self.pools = {
            shard.shard_id: math.ceil(sum(durations[clip] for clip in shard.clips) / POOL_S)
            for shard in shards
        }
        self.scheduler = Scheduler(shards)
        self.actors = [Actor(speed) for speed in speeds]
        self.rng = random.Random(seed)
        self.now_s = 0.0
        self.commits = []
        self.begun = set()
        self.n_backups = 0
        self._events = []
        self._order = itertools.count()

    def run(self):
        for actor in self.actors:
            self._schedule(self.rng.uniform(0, 3), self.assign_shards, actor)
        self._schedule(0.5, self.assign_shards_to_idle_actors)
        while self.scheduler.n_waiting or self.scheduler.n_open:
            self.now_s, _, action, *arguments = heapq.heappop(self._events)
            action(*arguments)

    @property
    def busy_share(self):
        return sum(actor.busy_s for actor in self.actors) / (self.now_s * len(self.actors))

    def _schedule(self, delay_s, action, *arguments):
        heapq.heappush(self._events, (self.now_s + delay_s, next(self._order), action, *arguments))

    def assign_shards(self, actor):
        while attempt := self.scheduler.take(actor, N_SLOTS, len(self.actors), self.now_s):
            shard = attempt.task.shard.shard_id
            self.n_backups += shard in self.begun
            self.begun.add(shard)
            open_shard = OpenShard(attempt, self.pools[shard])
            actor.open.append(open_shard)
            self.decode(actor, open_shard)

    def decode(self, actor, open_shard):
        # Backpressure: a decoder is ahead of the model by the packets in flight, about three pools.
        if open_shard.is_decoding or open_shard.decoded == min(
            open_shard.n_pools, open_shard.embedded + 3
        ):
            return
        open_shard.is_decoding = True
        jitter = self.rng.uniform(0.5, 1.5)
        self._schedule(POOL_S / DECODER_SPEED * jitter, self.on_decoded, actor, open_shard)

    def on_decoded(self, actor, open_shard):
        open_shard.is_decoding = False
        open_shard.decoded += 1
        self.decode(actor, open_shard)
        self.compute(actor)

    def compute(self, actor):
        waiting = [each for each in actor.open if each.decoded > each.embedded]
        if actor.is_computing or not waiting:
            return
        actor.is_computing = True
        work_s = len(waiting) * POOL_S / (MODEL_SPEED * actor.speed)
        took_s = CALL_S + work_s * self.rng.uniform(0.8, 1.2)
        actor.busy_s += took_s
        self._schedule(took_s, self.on_computed, actor, waiting)

    def on_computed(self, actor, embedded):
        actor.is_computing = False
        for open_shard in embedded:
            open_shard.embedded += 1
            self.decode(actor, open_shard)
            if open_shard.embedded == open_shard.n_pools:
                self.on_embedded(actor, open_shard)
        self.compute(actor)

    def on_embedded(self, actor, open_shard):
        if self.scheduler.may_commit(open_shard.attempt):
            self._schedule(COMMIT_S, self.on_committed, actor, open_shard)
        else:
            self.scheduler.end(open_shard.attempt)
            actor.open.remove(open_shard)
            self.assign_shards(actor)

    def on_committed(self, actor, open_shard):
        self.commits.append(open_shard.attempt.task.shard.shard_id)
        for other in self.scheduler.record_commit(open_shard.attempt, self.now_s):
            self.scheduler.end(other)
            other.actor.open = [each for each in other.actor.open if each.attempt is not other]
            self._schedule(0, self.assign_shards, other.actor)
        actor.open.remove(open_shard)
        self.assign_shards(actor)

    def assign_shards_to_idle_actors(self):
        """Give shards to idle actors at intervals, as the driver does."""
        for actor in self.actors:
            if not actor.open:
                self.assign_shards(actor)
        self._schedule(0.5, self.assign_shards_to_idle_actors)


def test_64_actors_stay_busy_on_clips_of_half_a_second_to_three_hours():
    durations = draw_clips(100_000)
    cluster = SimulatedCluster(durations, [1.0] * N_ACTORS)
    cluster.run()
    assert sorted(cluster.commits) == sorted(cluster.pools)
    assert cluster.busy_share > 0.97


def test_backup_attempts_shorten_a_run_with_a_slow_actor(monkeypatch):
    walls_s, n_backups = [], []
    for slow in (scheduler.STRAGGLER_FACTOR, math.inf):
        monkeypatch.setattr(scheduler, "STRAGGLER_FACTOR", slow)
        cluster = SimulatedCluster(draw_clips(3_000), [1.0] * 7 + [0.02])
        cluster.run()
        assert sorted(cluster.commits) == sorted(cluster.pools)
        walls_s.append(cluster.now_s)
        n_backups.append(cluster.n_backups)
    assert n_backups[0] > 0
    assert n_backups[1] == 0
    assert walls_s[0] < 0.7 * walls_s[1]

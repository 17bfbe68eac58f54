"""64 actors on a corpus of clips of half a second to three hours, played through without waiting.

The plan and the schedule are those of a run; actors, decoders and the clock are played: events in a
heap, each at its scripted time. An actor works as the real one does: of each open shard one pool of
windows at most waits for the model, the next is decoded meanwhile, and a call of the model takes
all pools that wait.
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
BYTES_PER_S = 32_000  # of a compressed recording
MODEL_SPEED = 3000.0  # seconds of audio a second
DECODER_SPEED = 1500.0
CALL_S = 0.002
COMMIT_S = 0.5


def clips(n_clips, seed=0):
    """As many of each order of magnitude; a size says little of a duration."""
    rng = random.Random(seed)
    durations = {}
    for number in range(n_clips):
        duration_s = math.exp(rng.uniform(math.log(SHORTEST_S), math.log(LONGEST_S)))
        n_bytes = int(duration_s * BYTES_PER_S * rng.uniform(0.5, 2.0))
        durations[ClipRef(f"/{number:06}.mp3", "1", n_bytes=n_bytes)] = duration_s
    return durations


@dataclass(eq=False)
class OpenShard:
    """A shard at an actor: how many pools are still to be decoded, and what waits."""

    taken: Attempt
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


class Cluster:
    """Plays a schedule through; `wall_s` and the actors' `busy_s` tell how it went."""

    def __init__(self, durations, speeds, seed=0):
        shards = plan_shards(durations, "spec", 256)
        self.pools = {
            shard.shard_id: math.ceil(sum(durations[clip] for clip in shard.clips) / POOL_S)
            for shard in shards
        }
        self.schedule = Scheduler(shards)
        self.actors = [Actor(speed) for speed in speeds]
        self.rng = random.Random(seed)
        self.now_s = 0.0
        self.commits = []
        self.begun = set()
        self.n_second_tries = 0
        self._events = []
        self._order = itertools.count()

    def play(self):
        for actor in self.actors:
            self.at(self.rng.uniform(0, 3), self.hand_out, actor)
        self.at(0.5, self.look_around)
        while self.schedule.n_waiting or self.schedule.n_open:
            self.now_s, _, what, *given = heapq.heappop(self._events)
            what(*given)

    @property
    def busy(self):
        return sum(actor.busy_s for actor in self.actors) / (self.now_s * len(self.actors))

    def at(self, delay_s, what, *given):
        heapq.heappush(self._events, (self.now_s + delay_s, next(self._order), what, *given))

    def hand_out(self, actor):
        while taken := self.schedule.take(actor, N_SLOTS, len(self.actors), self.now_s):
            shard = taken.task.shard.shard_id
            self.n_second_tries += shard in self.begun
            self.begun.add(shard)
            opened = OpenShard(taken, self.pools[shard])
            actor.open.append(opened)
            self.decode(actor, opened)

    def decode(self, actor, opened):
        # Ahead by what the packets under way hold.
        if opened.is_decoding or opened.decoded == min(opened.n_pools, opened.embedded + 3):
            return
        opened.is_decoding = True
        jitter = self.rng.uniform(0.5, 1.5)
        self.at(POOL_S / DECODER_SPEED * jitter, self.decoded, actor, opened)

    def decoded(self, actor, opened):
        opened.is_decoding = False
        opened.decoded += 1
        self.decode(actor, opened)
        self.compute(actor)

    def compute(self, actor):
        waiting = [each for each in actor.open if each.decoded > each.embedded]
        if actor.is_computing or not waiting:
            return
        actor.is_computing = True
        work_s = len(waiting) * POOL_S / (MODEL_SPEED * actor.speed)
        took_s = CALL_S + work_s * self.rng.uniform(0.8, 1.2)
        actor.busy_s += took_s
        self.at(took_s, self.computed, actor, waiting)

    def computed(self, actor, answered):
        actor.is_computing = False
        for opened in answered:
            opened.embedded += 1
            self.decode(actor, opened)
            if opened.embedded == opened.n_pools:
                self.through(actor, opened)
        self.compute(actor)

    def through(self, actor, opened):
        if self.schedule.may_commit(opened.taken):
            self.at(COMMIT_S, self.committed, actor, opened)
        else:
            self.schedule.ended(opened.taken)
            actor.open.remove(opened)
            self.hand_out(actor)

    def committed(self, actor, opened):
        self.commits.append(opened.taken.task.shard.shard_id)
        for other in self.schedule.committed(opened.taken, self.now_s):
            self.schedule.ended(other)
            other.actor.open = [each for each in other.actor.open if each.taken is not other]
            self.at(0, self.hand_out, other.actor)
        actor.open.remove(opened)
        self.hand_out(actor)

    def look_around(self):
        """As the driver does: are there idle actors, and something for them?"""
        for actor in self.actors:
            if not actor.open:
                self.hand_out(actor)
        self.at(0.5, self.look_around)


def test_64_actors_are_busy_on_clips_of_half_a_second_to_three_hours():
    durations = clips(100_000)
    cluster = Cluster(durations, [1.0] * N_ACTORS)
    cluster.play()
    assert sorted(cluster.commits) == sorted(cluster.pools)
    assert cluster.busy > 0.97


def test_what_a_slow_actor_has_at_the_end_is_done_by_another(monkeypatch):
    walls_s, second_tries = [], []
    for slow in (scheduler.STRAGGLER_FACTOR, math.inf):
        monkeypatch.setattr(scheduler, "STRAGGLER_FACTOR", slow)
        cluster = Cluster(clips(3_000), [1.0] * 7 + [0.02])
        cluster.play()
        assert sorted(cluster.commits) == sorted(cluster.pools)
        walls_s.append(cluster.now_s)
        second_tries.append(cluster.n_second_tries)
    assert second_tries[0] > 0
    assert second_tries[1] == 0
    assert walls_s[0] < 0.7 * walls_s[1]

"""A run's shards on Ray: the driver hands out shard specs and counts receipts.

Actors, shards and nodes may go at any time, and come. Who does what is decided in `scheduler`,
how many there are in `pool_size`; here it is asked of Ray, and Ray's answers are told to them. A
shard that was tried twice has one set of rows, as its files have fixed names, and as of two tries
that run at once one is let write.
"""

import contextlib
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import ray

from jobs.cluster.actor_plan import ActorPlan, actor_plan
from jobs.cluster.actor_pool import Actor, ActorPool
from jobs.cluster.connection import ClusterOptions, ray_session
from jobs.cluster.metrics import RunMetrics
from jobs.cluster.pending_calls import PendingCalls
from jobs.cluster.ray_errors import DecodeDiedError, describe_ray_error
from jobs.cluster.scheduler import Attempt, Scheduler
from jobs.cluster.shard_task import ShardTask
from jobs.runtime.monitor import Monitor
from jobs.runtime.stop_signals import StopRequest, grace_s
from jobs.worker.run_model import RunSpec
from pipeline.errors import CredentialsError, HostError, LostTableError, StoreError
from pipeline.progress import Counts
from pipeline.shards import Shard
from pipeline.wording import count

POLL_S = 0.5
"""How long a signal to stop, or an idle actor, may go unnoticed."""
LOOK_S = 2.0
"""How often the actors are asked how far they are: for people, so not often."""


def run_on_ray(
    run: RunSpec,
    shards: Sequence[Shard],
    monitor: Monitor,
    options: ClusterOptions,
    stop: StopRequest,
) -> None:
    """Embed and commit shards on Ray.

    Args:
        run: what to embed with.
        shards: what to embed.
        monitor: told of every receipt and failure.
        options: where to run.
        stop: once requested, no shard is started any more and those under way have
            `grace_s` to commit.

    Raises:
        UsageError: Ray cannot be reached, or has too few GPUs.
        LostTableError: Another run has the table now.
        PipelineError: the actors cannot start.
    """
    tell = partial(monitor.log.report, "ray_settings", level="warning")
    where = "starting Ray" if options.address == "local" else f"joining Ray at {options.address}"
    monitor.start_phase("starting_ray", where)
    with ray_session(options, run.storage, tell):
        stop.install()  # ray.init has taken SIGTERM
        plan = actor_plan(options, len(shards), run.spec.precision)
        with stop.deferred():
            driver = _Driver(run, shards, monitor, stop, plan)
            try:
                driver.work()
            finally:
                driver.end()


class _Driver:
    """The state of one run on Ray."""

    def __init__(
        self,
        run: RunSpec,
        shards: Sequence[Shard],
        monitor: Monitor,
        stop: StopRequest,
        plan: ActorPlan,
    ) -> None:
        self._schedule = Scheduler[Actor](shards)
        self._monitor = monitor
        self._stop = stop
        self._plan = plan
        self._answers = PendingCalls()
        self._crew = ActorPool(run, plan, self._answers, self._welcome, monitor.log)
        self._n_slots = 0
        n_actors = count(plan.size.at_first, "process", "processes")
        monitor.start_phase("loading_model", f"loading the model in {n_actors}")
        self._polls: dict[Actor, tuple[Any, float]] = {}  # the question, and when it was asked
        self._next_look_s = 0.0
        self._progress: dict[str, Counts] = {}
        self._metrics = RunMetrics()

    def work(self) -> None:
        """Until every shard is committed or has failed, or the run is told to stop."""
        schedule = self._schedule
        while (schedule.n_waiting or schedule.n_open) and not self._stop.requested:
            self._staff()
            self._answers.wait(POLL_S)
            if (now := time.monotonic()) >= self._next_look_s:
                self._next_look_s = now + LOOK_S
                self._metrics.shards(schedule.n_open, schedule.n_waiting)
                self._metrics.actors(len(self._crew.ready), len(self._crew.starting))
                self._poll_progress()
        deadline = time.monotonic() + (0.0 if self._stop.at_once else grace_s())
        while schedule.n_open and (left := deadline - time.monotonic()) > 0:
            self._answers.wait(min(left, POLL_S))

    def end(self) -> None:
        """End all actors, whatever they are doing."""
        self._crew.end_all()

    def _staff(self) -> None:
        """Have as many actors as there is work for, and none of them idle that need not be."""
        idle = [actor for actor in self._crew.ready if not self._schedule.attempts_of(actor)]
        if self._schedule.n_waiting:
            self._crew.grow(self._schedule.n_waiting)
        else:
            # What is still open may prove slow, and is then for one of the idle ones as well.
            spare = [*(a for a in self._crew.starting if not a.node), *idle]
            for actor in spare[: max(0, len(spare) - self._schedule.n_without_backup)]:
                self._crew.end(actor)
                idle = [each for each in idle if each is not actor]
        for actor in idle:
            self._hand_out(actor)

    def _welcome(self, actor: Actor) -> None:
        if not self._n_slots:
            self._monitor.start_phase("embedding", "embedding the first clips")
        self._n_slots = self._plan.n_slots(self._crew.size)
        self._hand_out(actor)

    def _hand_out(self, actor: Actor) -> None:
        """Give an actor what it can take."""
        if self._crew.is_broken(actor.node):
            return
        n_actors = self._crew.size
        while not self._stop.requested:
            taken = self._schedule.take(
                actor,
                self._n_slots,
                n_actors,
                time.monotonic(),
                actor.node,
                self._crew.staffed_nodes,
            )
            if taken is None:
                return
            work = taken.work
            avoided = work.failed_nodes - {actor.node}  # where it is on one, no other was left
            ref = actor.handle.embed.remote(work.shard, work.poison, work.one_by_one, avoided)
            self._answers.expect(ref, actor, self._embedded, taken)

    def _embedded(self, actor: Actor, done: Attempt[Actor], ref: Any) -> None:
        """A try is through: let it commit, if no other one has been let."""
        if not self._came_through(actor, done, ref):
            return
        if self._schedule.may_commit(done):
            answer = actor.handle.commit.remote(done.work.shard)
            self._answers.expect(answer, actor, self._committed, done)
        else:
            self._schedule.ended(done)
            actor.handle.drop.remote(done.work.shard)
            self._hand_out(actor)

    def _committed(self, actor: Actor, done: Attempt[Actor], ref: Any) -> None:
        if not self._came_through(actor, done, ref):
            return
        record = ray.get(ref)
        for other in self._schedule.committed(done, time.monotonic()):
            other.actor.handle.drop.remote(done.work.shard)
        self._crew.record_success(actor)
        self._progress.pop(done.work.shard.shard_id, None)
        self._monitor.shard_done(record)
        self._monitor.in_flight(self._progress.values())  # those of the other shards
        self._metrics.committed(record)
        self._hand_out(actor)

    def _came_through(self, actor: Actor, asked: Attempt[Actor], ref: Any) -> bool:
        """Whether a try did what it was asked; what follows is seen to where it did not."""
        try:
            ray.get(ref)
        except ray.exceptions.RayActorError as error:
            self._lose(actor, describe_ray_error(error))
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, LostTableError | CredentialsError):
                raise cause from None  # no other shard could be committed either
            if isinstance(cause, DecodeDiedError):
                after = asked.work.decoder_died(cause.clip)
            elif isinstance(cause, HostError):
                node = getattr(cause, "node", actor.node)
                after = asked.work.failed_on(
                    node, self._crew.node_failed(node, describe_ray_error(error))
                )
            elif isinstance(cause, StoreError):
                after = None  # it has been tried for as long as --store-timeout-s says
            else:
                after = asked.work.failed()
            if self._schedule.ended(asked):
                self._retry(asked.work, after, describe_ray_error(error))
            self._hand_out(actor)
        else:
            return True
        return False

    def _lose(self, actor: Actor, reason: str) -> None:
        """Do without an actor: its shards are for others."""
        self._crew.lose(actor, reason)
        self._polls.pop(actor, None)
        tries = self._schedule.attempts_of(actor)
        for lost in tries:
            work = lost.work
            if self._schedule.ended(lost):
                after = work.died_among_others() if len(tries) > 1 else work.failed()
                self._retry(work, after, reason)

    def _retry(self, work: ShardTask, after: ShardTask | None, reason: str) -> None:
        self._progress.pop(work.shard.shard_id, None)
        if self._stop.requested:
            return
        self._metrics.attempt_failed()
        if after is None:
            self._monitor.shard_failed(work.shard, reason)
        else:
            self._monitor.shard_retried(work.shard, work.attempt, reason)
            self._schedule.put(after)

    def _poll_progress(self) -> None:
        """Ask busy actors how far they are, one question each at a time."""
        now = time.monotonic()
        for actor in self._schedule.busy - self._polls.keys():
            self._polls[actor] = actor.handle.progress.remote(), now
        refs = [ref for ref, _ in self._polls.values()]
        answered = ray.wait(refs, num_returns=len(refs), timeout=0)[0] if refs else []
        for actor, (ref, asked_s) in list(self._polls.items()):
            if ref in answered:
                del self._polls[actor]
                with contextlib.suppress(ray.exceptions.RayError):
                    self._progress |= ray.get(ref)
            elif now - asked_s > self._plan.timeout_s and actor in self._schedule.busy:
                silent = f"the model's process said nothing for {self._plan.timeout_s:g} s"
                self._lose(actor, f"{silent} (--actor-timeout-s)")
        # An answer may have been on the way while a shard ended.
        open_ = self._schedule.open
        self._progress = {shard: p for shard, p in self._progress.items() if shard in open_}
        self._monitor.in_flight(self._progress.values())

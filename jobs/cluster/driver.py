"""The driver of a run on Ray: hands shards to actors and collects their commit records.

Actors, shards and nodes may come and go at any time. `scheduler` decides which actor gets which
shard, and `pool_size` decides how many actors there are. The driver carries these decisions out on
Ray, and reports the results of Ray's calls back to them. A shard with several attempts has a single
set of rows: its files have fixed names, and only one of two concurrent attempts may commit.
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
"""Longest time in seconds that a signal to stop, or an idle actor, goes unnoticed."""
PROGRESS_POLL_S = 2.0
"""Time between requests for the actors' progress, in seconds."""


def run_on_ray(
    run: RunSpec,
    shards: Sequence[Shard],
    monitor: Monitor,
    options: ClusterOptions,
    stop: StopRequest,
) -> None:
    """Embed and commit shards on Ray.

    Args:
        run: Description of the run, which every process receives.
        shards: The shards to embed.
        monitor: Progress of the run, updated with every commit and failure.
        options: Address of the cluster, and the actors to start there.
        stop: Request to stop. Once it is set, no more shards are started, and shards in flight have
            `grace_s` to commit.

    Raises:
        UsageError: Ray cannot be reached, or has too few GPUs.
        LostTableError: Another run has the table now.
        PipelineError: The actors cannot start.
    """
    warn = partial(monitor.log.report, "ray_settings", level="warning")
    phase = "starting Ray" if options.address == "local" else f"joining Ray at {options.address}"
    monitor.start_phase("starting_ray", phase)
    with ray_session(options, run.storage, warn):
        stop.install()  # ray.init has replaced the handler of SIGTERM
        plan = actor_plan(options, len(shards), run.spec.precision)
        with stop.defer():
            driver = _Driver(run, shards, monitor, stop, plan)
            try:
                driver.run()
            finally:
                driver.kill_actors()


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
        self._scheduler = Scheduler[Actor](shards)
        self._monitor = monitor
        self._stop = stop
        self._plan = plan
        self._calls = PendingCalls()
        self._pool = ActorPool(run, plan, self._calls, self._on_actor_ready, monitor.log)
        self._n_slots = 0
        n_actors = count(plan.size.n_initial, "process", "processes")
        monitor.start_phase("loading_model", f"loading the model in {n_actors}")
        self._polls: dict[Actor, tuple[Any, float]] = {}  # reference and time of each request
        self._next_poll_s = 0.0
        self._progress: dict[str, Counts] = {}
        self._metrics = RunMetrics()

    def run(self) -> None:
        """Run until every shard is committed or given up, or until the run is stopped."""
        scheduler = self._scheduler
        while (scheduler.n_waiting or scheduler.n_open) and not self._stop.requested:
            self._scale_pool()
            self._calls.wait(POLL_S)
            if (now := time.monotonic()) >= self._next_poll_s:
                self._next_poll_s = now + PROGRESS_POLL_S
                self._metrics.set_shards(scheduler.n_open, scheduler.n_waiting)
                self._metrics.set_actors(len(self._pool.ready), len(self._pool.starting))
                self._poll_progress()
        deadline = time.monotonic() + (0.0 if self._stop.at_once else grace_s())
        while scheduler.n_open and (left := deadline - time.monotonic()) > 0:
            self._calls.wait(min(left, POLL_S))

    def kill_actors(self) -> None:
        """Kill all actors, whatever they are doing."""
        self._pool.kill_all()

    def _scale_pool(self) -> None:
        """Start missing actors, kill actors that can no longer help, and give idle ones shards."""
        idle = [actor for actor in self._pool.ready if not self._scheduler.attempts_of(actor)]
        if self._scheduler.n_waiting:
            self._pool.grow(self._scheduler.n_waiting)
        else:
            # Each open shard may prove slow, and an idle actor can then start a backup attempt.
            spare = [*(a for a in self._pool.starting if not a.node), *idle]
            for actor in spare[: max(0, len(spare) - self._scheduler.n_without_backup)]:
                self._pool.kill(actor)
                idle = [each for each in idle if each is not actor]
        for actor in idle:
            self._assign_shards(actor)

    def _on_actor_ready(self, actor: Actor) -> None:
        if not self._n_slots:
            self._monitor.start_phase("embedding", "embedding the first clips")
        self._n_slots = self._plan.n_slots(self._pool.size)
        self._assign_shards(actor)

    def _assign_shards(self, actor: Actor) -> None:
        """Start attempts of an actor until it has enough shards."""
        if self._pool.is_faulty(actor.node):
            return
        n_actors = self._pool.size
        while not self._stop.requested:
            attempt = self._scheduler.take(
                actor,
                self._n_slots,
                n_actors,
                time.monotonic(),
                actor.node,
                self._pool.nodes_with_actors,
            )
            if attempt is None:
                return
            task = attempt.task
            # If the actor's own node has failed the shard, no other node was left.
            excluded = task.failed_nodes - {actor.node}
            ref = actor.handle.embed.remote(task.shard, task.poison, task.one_by_one, excluded)
            self._calls.add(ref, actor, self._on_embedded, attempt)

    def _on_embedded(self, actor: Actor, attempt: Attempt[Actor], ref: Any) -> None:
        """Let a finished attempt commit, unless another attempt already may."""
        if not self._check_result(actor, attempt, ref):
            return
        shard = attempt.task.shard
        if self._scheduler.may_commit(attempt):
            self._calls.add(actor.handle.commit.remote(shard), actor, self._on_committed, attempt)
        else:
            self._scheduler.end(attempt)
            actor.handle.drop.remote(shard)
            self._assign_shards(actor)

    def _on_committed(self, actor: Actor, attempt: Attempt[Actor], ref: Any) -> None:
        if not self._check_result(actor, attempt, ref):
            return
        record = ray.get(ref)
        shard = attempt.task.shard
        for other in self._scheduler.record_commit(attempt, time.monotonic()):
            other.actor.handle.drop.remote(shard)
        self._pool.record_success(actor)
        self._progress.pop(shard.shard_id, None)
        self._monitor.shard_done(record)
        self._monitor.set_in_flight(self._progress.values())
        self._metrics.record_commit(record)
        self._assign_shards(actor)

    def _check_result(self, actor: Actor, attempt: Attempt[Actor], ref: Any) -> bool:
        """Return whether an actor's call succeeded; if it failed, handle the failure."""
        try:
            ray.get(ref)
        except ray.exceptions.RayActorError as error:
            self._remove_dead(actor, describe_ray_error(error))
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, LostTableError | CredentialsError):
                raise cause from None  # no other shard could be committed either
            task = attempt.task
            if isinstance(cause, DecodeDiedError):
                next_task = task.retry_after_decoder_death(cause.clip)
            elif isinstance(cause, HostError):
                node = getattr(cause, "node", actor.node)
                nodes = self._pool.record_node_fault(node, describe_ray_error(error))
                next_task = task.retry_after_node_fault(node, nodes)
            elif isinstance(cause, StoreError):
                next_task = None  # the store was retried for --store-timeout-s already
            else:
                next_task = task.retry()
            if self._scheduler.end(attempt):
                self._retry(task, next_task, describe_ray_error(error))
            self._assign_shards(actor)
        else:
            return True
        return False

    def _remove_dead(self, actor: Actor, reason: str) -> None:
        """Remove a dead actor, and retry its shards."""
        self._pool.remove_dead(actor, reason)
        self._polls.pop(actor, None)
        attempts = self._scheduler.attempts_of(actor)
        for attempt in attempts:
            task = attempt.task
            if self._scheduler.end(attempt):
                is_shared = len(attempts) > 1
                next_task = task.retry_after_shared_death() if is_shared else task.retry()
                self._retry(task, next_task, reason)

    def _retry(self, task: ShardTask, next_task: ShardTask | None, reason: str) -> None:
        self._progress.pop(task.shard.shard_id, None)
        if self._stop.requested:
            return
        self._metrics.record_failed_attempt()
        if next_task is None:
            self._monitor.shard_failed(task.shard, reason)
        else:
            self._monitor.shard_retried(task.shard, task.attempt, reason)
            self._scheduler.requeue(next_task)

    def _poll_progress(self) -> None:
        """Request the progress of busy actors, at most one request per actor at a time."""
        now = time.monotonic()
        for actor in self._scheduler.busy - self._polls.keys():
            self._polls[actor] = actor.handle.progress.remote(), now
        refs = [ref for ref, _ in self._polls.values()]
        answered = ray.wait(refs, num_returns=len(refs), timeout=0)[0] if refs else []
        for actor, (ref, asked_s) in list(self._polls.items()):
            if ref in answered:
                del self._polls[actor]
                with contextlib.suppress(ray.exceptions.RayError):
                    self._progress |= ray.get(ref)
            elif now - asked_s > self._plan.timeout_s and actor in self._scheduler.busy:
                reason = f"the model process did not answer for {self._plan.timeout_s:g} s"
                self._remove_dead(actor, f"{reason} (--actor-timeout-s)")
        # A result may name a shard that has ended while the result was on its way.
        open_ = self._scheduler.open_shard_ids
        self._progress = {shard: p for shard, p in self._progress.items() if shard in open_}
        self._monitor.set_in_flight(self._progress.values())

"""A run's shards on Ray: the driver hands out shard specs and counts receipts.

Actors and shards may die at any time. A dead actor is replaced; its shards are tried again (see
`jobs.work`), and one that cannot be done fails loudly while the others go on. A shard that was
tried twice has one set of rows, as its files have fixed names.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray

from jobs.actor import DecodeDiedError
from jobs.connect import ActorPlan, ClusterOptions, actor_plan, connected
from jobs.metrics import RunMetrics
from jobs.model import RunSpec
from jobs.monitor import Monitor
from jobs.stop import StopRequest
from jobs.work import MAX_ATTEMPTS, Queue, Work
from pipeline.errors import PipelineError
from pipeline.plan import Shard
from pipeline.progress import Progress

POLL_S = 0.5
STOP_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class _Try:
    """A shard that an actor is working on."""

    actor: Any
    work: Work


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
            `STOP_GRACE_S` to commit.

    Raises:
        UsageError: Ray cannot be reached, or has too few GPUs.
        PipelineError: the actors cannot start.
    """
    with connected(options, run.storage):
        stop.install()  # ray.init has taken SIGTERM
        plan = actor_plan(options, len(shards), run.spec.precision)
        with stop.deferred():
            driver = _Driver(run, shards, monitor, stop, plan)
            try:
                driver.work()
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
        self._run = ray.put(run)
        self._queue = Queue(shards)
        self._monitor = monitor
        self._stop = stop
        self._plan = plan
        self._starting: dict[Any, Any] = {}
        self._tries: dict[Any, _Try] = {}
        self._polls: dict[Any, tuple[Any, float]] = {}  # the question, and when it was asked
        self._progress: dict[str, Progress] = {}
        self._failed_starts = 0
        self._metrics = RunMetrics()

    def work(self) -> None:
        """Until every shard is committed or has failed, or the run is told to stop."""
        for _ in range(self._plan.n_actors):
            self._start_actor()
        while (self._queue or self._tries) and not self._stop.requested:
            self._wait(POLL_S)
            self._metrics.shards(len(self._tries), len(self._queue))
            if self._tries:
                self._poll_progress()
        deadline = time.monotonic() + STOP_GRACE_S
        while self._tries and (left := deadline - time.monotonic()) > 0:
            self._wait(min(left, POLL_S))

    def kill_actors(self) -> None:
        """End all actors, whatever they are doing."""
        for actor in {*self._starting.values(), *self._busy()}:
            ray.kill(actor)

    def _busy(self) -> set[Any]:
        return {each.actor for each in self._tries.values()}

    def _start_actor(self) -> None:
        actor = self._plan.actor_class.remote(self._run, self._plan.n_threads)
        self._starting[actor.__ray_ready__.remote()] = actor

    def _wait(self, timeout_s: float) -> None:
        """Deal with what is ready; returns after `timeout_s` at the latest."""
        refs = [*self._starting, *self._tries]
        ready, _ = ray.wait(refs, num_returns=1, timeout=timeout_s)
        for ref in ready:
            if ref in self._starting:
                self._admit(ref)
            else:
                self._collect(ref)

    def _admit(self, ref: Any) -> None:
        actor = self._starting.pop(ref)
        try:
            ray.get(ref)
        except ray.exceptions.RayError as error:
            self._failed_starts += 1
            if self._failed_starts >= MAX_ATTEMPTS:
                raise PipelineError(
                    f"the model's process failed to start {MAX_ATTEMPTS} times: {_reason(error)}"
                ) from error
            self._start_actor()
        else:
            self._failed_starts = 0
            self._hand_out(actor)

    def _hand_out(self, actor: Any) -> None:
        """Give an actor what it can take; one that has nothing to do any more is let go."""
        while not self._stop.requested:
            open_ = [each.work for each in self._tries.values() if each.actor is actor]
            work = self._queue.take(
                open_, self._plan.n_slots, len(self._tries), self._plan.n_actors
            )
            if work is None:
                break
            ref = actor.embed.remote(work.shard, work.poison, work.one_by_one)
            self._tries[ref] = _Try(actor, work)
        if actor not in self._busy():
            ray.kill(actor)

    def _collect(self, ref: Any) -> None:
        done = self._tries.pop(ref)
        self._progress.pop(done.work.shard.shard_id, None)
        try:
            record = ray.get(ref)
        except ray.exceptions.RayActorError as error:
            self._lose(done.actor, [done.work], _reason(error))
            return
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, DecodeDiedError):
                after = done.work.decoder_died(cause.clip)
            else:
                after = done.work.failed()
            self._retry(done.work, after, _reason(error))
        else:
            self._monitor.shard_done(record)
            self._monitor.in_flight(self._progress.values())  # those of the other shards
            self._metrics.committed(record)
        self._hand_out(done.actor)

    def _lose(self, actor: Any, works: list[Work], reason: str) -> None:
        """Do without an actor: its shards are for others.

        Args:
            actor: that died, or is taken for dead.
            works: of its shards, those that are not among the tries any more.
            reason: why.
        """
        ray.kill(actor)  # it may be out of reach only, and still at work
        self._polls.pop(actor, None)
        lost = [ref for ref, each in self._tries.items() if each.actor is actor]
        works = [*works, *(self._tries.pop(ref).work for ref in lost)]
        for work in works:
            after = work.died_among_others() if len(works) > 1 else work.failed()
            self._retry(work, after, reason)
        if self._queue and not self._stop.requested:
            self._start_actor()

    def _retry(self, work: Work, after: Work | None, reason: str) -> None:
        if self._stop.requested:
            return
        self._metrics.failed_try()
        if after is None:
            self._monitor.shard_failed(work.shard, reason)
        else:
            self._monitor.shard_retried(work.shard, work.attempt, reason)
            self._queue.put(after)

    def _poll_progress(self) -> None:
        """Ask busy actors how far they are, one question each at a time."""
        now = time.monotonic()
        for actor in self._busy():
            if actor not in self._polls:
                self._polls[actor] = actor.progress.remote(), now
        refs = [ref for ref, _ in self._polls.values()]
        answered, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        for actor, (ref, asked_s) in list(self._polls.items()):
            if ref in answered:
                del self._polls[actor]
                with contextlib.suppress(ray.exceptions.RayError):
                    self._progress |= ray.get(ref)
            elif now - asked_s > self._plan.timeout_s and actor in self._busy():
                silent = f"the model's process said nothing for {self._plan.timeout_s:g} s"
                self._lose(actor, [], f"{silent} (--actor-timeout-s)")
        # An answer may have been on the way while a shard ended.
        open_ = {each.work.shard.shard_id for each in self._tries.values()}
        self._progress = {shard: p for shard, p in self._progress.items() if shard in open_}
        self._monitor.in_flight(self._progress.values())


def _reason(error: ray.exceptions.RayError) -> str:
    """What went wrong, in one line, without Ray's stack."""
    cause: BaseException | None = getattr(error, "cause", None)
    lines = str(cause or error).strip().splitlines() or [""]
    name = type(cause or error).__name__
    return lines[0] if isinstance(cause, PipelineError) else f"{name}: {lines[-1]}"

"""A run's shards on Ray: the driver hands out shard specs and counts receipts.

Actors and shards may die at any time. A dead actor is replaced; its shard is tried again, up to
three times in all, then it fails loudly and the others go on. A shard that was tried twice has one
set of rows, as its files have fixed names.
"""

import contextlib
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray

from jobs.connect import ClusterOptions, actor_plan, connected
from jobs.model import RunSpec
from jobs.monitor import Monitor
from jobs.stop import StopRequest
from pipeline.errors import PipelineError
from pipeline.plan import Shard
from pipeline.progress import Progress

MAX_ATTEMPTS = 3
POLL_S = 0.5
STOP_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class _Try:
    """A shard that an actor is working on."""

    actor: Any
    shard: Shard
    attempt: int


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
        n_actors, actor_class, n_threads = actor_plan(options, len(shards), run.spec.precision)
        with stop.deferred():
            driver = _Driver(run, shards, monitor, stop, actor_class, n_threads)
            try:
                driver.work(n_actors)
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
        actor_class: Any,
        n_threads: int,
    ) -> None:
        self._run = ray.put(run)
        self._todo = deque((shard, 1) for shard in shards)
        self._monitor = monitor
        self._stop = stop
        self._actor_class = actor_class
        self._n_threads = n_threads
        self._starting: dict[Any, Any] = {}
        self._tries: dict[Any, _Try] = {}
        self._polls: dict[Any, Any] = {}
        self._progress: dict[Any, Progress] = {}
        self._failed_starts = 0

    def work(self, n_actors: int) -> None:
        """Until every shard is committed or has failed, or the run is told to stop."""
        for _ in range(n_actors):
            self._start_actor()
        while (self._todo or self._tries) and not self._stop.requested:
            self._wait(POLL_S)
            if self._tries:
                self._poll_progress()
        deadline = time.monotonic() + STOP_GRACE_S
        while self._tries and (left := deadline - time.monotonic()) > 0:
            self._wait(min(left, POLL_S))

    def kill_actors(self) -> None:
        """End all actors, whatever they are doing."""
        tries = (each.actor for each in self._tries.values())
        for actor in {*self._starting.values(), *tries}:
            ray.kill(actor)

    def _start_actor(self) -> None:
        actor = self._actor_class.remote(self._run, self._n_threads)
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
        if self._todo and not self._stop.requested:
            shard, attempt = self._todo.popleft()
            self._tries[actor.embed.remote(shard)] = _Try(actor, shard, attempt)
        else:
            ray.kill(actor)

    def _collect(self, ref: Any) -> None:
        done = self._tries.pop(ref)
        # An answer on the way is about the shard that has just ended.
        for answers in (self._polls, self._progress):
            answers.pop(done.actor, None)
        try:
            record = ray.get(ref)
        except ray.exceptions.RayError as error:
            self._retry(done, _reason(error))
            if isinstance(error, ray.exceptions.RayActorError):
                ray.kill(done.actor)  # it may be out of reach only, and still at work
                if self._todo and not self._stop.requested:
                    self._start_actor()
                return
        else:
            self._monitor.shard_done(record)
        self._hand_out(done.actor)

    def _retry(self, failed: _Try, reason: str) -> None:
        if self._stop.requested:
            return
        if failed.attempt < MAX_ATTEMPTS:
            self._monitor.shard_retried(failed.shard, failed.attempt, reason)
            self._todo.append((failed.shard, failed.attempt + 1))
        else:
            self._monitor.shard_failed(failed.shard, reason)

    def _poll_progress(self) -> None:
        """Ask busy actors how far they are, one question each at a time."""
        busy = [each.actor for each in self._tries.values()]
        self._progress = {actor: p for actor, p in self._progress.items() if actor in busy}
        for actor in busy:
            if actor not in self._polls:
                self._polls[actor] = actor.progress.remote()
        answered, _ = ray.wait(list(self._polls.values()), num_returns=len(self._polls), timeout=0)
        for actor in [actor for actor, ref in self._polls.items() if ref in answered]:
            with contextlib.suppress(ray.exceptions.RayError):
                progress = ray.get(self._polls.pop(actor))
                if actor in busy:
                    self._progress[actor] = progress
        self._monitor.in_flight(self._progress.values())


def _reason(error: ray.exceptions.RayError) -> str:
    """What went wrong, in one line, without Ray's stack."""
    cause: BaseException | None = getattr(error, "cause", None)
    lines = str(cause or error).strip().splitlines() or [""]
    name = type(cause or error).__name__
    return lines[0] if isinstance(cause, PipelineError) else f"{name}: {lines[-1]}"

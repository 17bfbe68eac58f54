"""The actors of a run: asked of Ray, admitted when they have their model, ended.

Ray answers late, or not at all, as long as it has no room for an actor. So its node and its model
are two answers: one that has no node yet may be ended again at no loss.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import ray

from jobs.cluster.actor import EmbedActor
from jobs.cluster.actor_plan import ActorPlan
from jobs.cluster.node_labels import only, without
from jobs.cluster.pending_calls import PendingCalls
from jobs.cluster.pool_size import PoolSizer
from jobs.cluster.ray_errors import describe_ray_error
from jobs.cluster.shard_task import MAX_ATTEMPTS
from jobs.runtime.run_log import RunLog
from jobs.worker.run_model import RunSpec
from pipeline.errors import CredentialsError, DriftError, HostError, PipelineError

NO_ROOM_S = 60.0
"""How long a run waits for a place for its first actor before it says so."""


@dataclass(eq=False)
class Actor:
    """An actor, from its request to its end.

    Attributes:
        handle: Ray's.
        avoided: nodes that it is kept from, because they rest.
        target: ID of the node that it is meant for; empty where Ray chooses.
        node: that it is on; empty as long as Ray has no place for it.
        is_ready: it has its model.
    """

    handle: Any
    avoided: frozenset[str]
    target: str = ""
    node: str = ""
    is_ready: bool = False


class ActorPool:
    """The actors of a run.

    Args:
        run: what they embed with.
        plan: how many, of which size.
        answers: takes theirs.
        on_ready: told of each that has its model.
        log: takes what becomes of them.
    """

    def __init__(
        self,
        run: RunSpec,
        plan: ActorPlan,
        answers: PendingCalls,
        on_ready: Callable[[Actor], None],
        log: RunLog,
    ) -> None:
        self._run = ray.put(run)
        self._plan = plan
        self._answers = answers
        self._on_ready = on_ready
        self._log = log
        self._fleet = PoolSizer(plan.size)
        self._class: Any = ray.remote(EmbedActor)
        self._actors: set[Actor] = set()
        self._failed_starts = 0
        self._no_room_since_s: float | None = None

    @property
    def ready(self) -> list[Actor]:
        """Those that have their model."""
        return [actor for actor in self._actors if actor.is_ready]

    def staffed_nodes(self) -> frozenset[str]:
        """Return the IDs of the nodes that have an actor, ready or still with its model to load."""
        nodes = {actor.node or actor.target for actor in self._actors}
        return frozenset(nodes - {""})

    @property
    def size(self) -> int:
        """How many share the work, or soon will."""
        return max(len(self.ready), self._plan.size.at_first)

    @property
    def starting(self) -> list[Actor]:
        """Those that do not have it yet."""
        return [actor for actor in self._actors if not actor.is_ready]

    def grow(self, n_waiting: int) -> None:
        """Start the actors that are missing.

        Args:
            n_waiting: shards that nobody has begun.
        """
        self._report_unschedulable()
        resting = self._fleet.excluded_nodes(time.monotonic())
        unplaced = [actor for actor in self.starting if not actor.node]
        there = self._plan.nodes() if any(actor.target for actor in unplaced) else {}
        for actor in unplaced:
            # Ray has been told of other nodes than are to be avoided now, or of one that is gone.
            if actor.avoided != resting or (actor.target and actor.target not in there):
                self.end(actor)
        broken = self._fleet.broken(time.monotonic())
        n_ready = sum(actor.node not in broken for actor in self.ready)
        if n_ready and not self._plan.gpus:
            n_ready = len(self.ready)  # each node has its actor: another one would be in its way
        n_missing = self._fleet.n_to_start(len(self.starting), n_ready, n_waiting)
        if not n_missing:
            return
        nodes = self._plan.nodes()
        fit = {node for node, has_room in nodes.items() if has_room}
        if fit and resting.issuperset(fit):
            return
        for _ in range(n_missing):
            target = "" if self._plan.gpus or not fit else self._emptiest(fit - resting)
            self._start(resting, target)

    def _emptiest(self, nodes: Collection[str]) -> str:
        """Return the node with the fewest actors."""
        meant = Counter(actor.node or actor.target for actor in self._actors)
        return min(sorted(nodes), key=lambda node: meant[node])

    def end(self, actor: Actor) -> None:
        """Do without an actor, whatever it is doing."""
        ray.kill(actor.handle)
        self._actors.discard(actor)
        self._answers.forget(actor)

    def lose(self, actor: Actor, reason: str) -> None:
        """Do without one that died, or is taken for dead."""
        self.end(actor)  # it may be out of reach only, and still at work
        self._fleet.record_death(actor.node, time.monotonic())
        line = f"a model's process is lost: {reason}"
        self._log.detail("actor_lost", line, "warning", node=actor.node, reason=reason)

    def record_success(self, actor: Actor) -> None:
        """An actor has committed a shard."""
        self._fleet.record_commit(actor.node)

    def is_broken(self, node: str) -> bool:
        """Whether a node rests because of a fault of its own."""
        return node in self._fleet.broken(time.monotonic())

    def node_failed(self, node: str, reason: str) -> frozenset[str]:
        """Leave a node alone for a while that has a fault of its own, as a full disk.

        Args:
            node: ID of the node.
            reason: What is wrong with it, in one line.

        Returns:
            The IDs of all nodes that can have actors.

        Raises:
            HostError: All of them have had such faults for a while, and nothing was committed.
        """
        if not self.is_broken(node):
            self._fleet.record_fault(node, time.monotonic())
            line = f"node {node} is left alone for a while: {reason}"
            self._log.report("node_failed", line, "warning", node=node, reason=reason)
        fit = frozenset(name for name, has_room in self._plan.nodes().items() if has_room)
        if self._fleet.is_hopeless(fit):
            raise HostError(
                f"no node is left that can embed: {reason}; the same command goes on from there"
            )
        return fit

    def end_all(self) -> None:
        """End all of them."""
        for actor in list(self._actors):
            self.end(actor)

    def _start(self, avoided: frozenset[str], target: str) -> None:
        options = dict(self._plan.options)
        if target:
            # Ray keeps to no affinity for what asks for nothing, as an actor without a GPU.
            options["label_selector"] = only(target)
        elif avoided:
            options["label_selector"] = without(avoided)
        handle = self._class.options(**options).remote(self._run, self._plan.n_threads)
        actor = Actor(handle, avoided, target)
        self._actors.add(actor)
        self._answers.expect(handle.node.remote(), actor, self._place)

    def _place(self, actor: Actor, ref: Any) -> None:
        try:
            actor.node = ray.get(ref)
        except ray.exceptions.RayError as error:
            self._fail(actor, error)
            return
        if actor.node in self._fleet.excluded_nodes(time.monotonic()):
            self.end(actor)  # Ray had found a place for it before it was told
        else:
            self._answers.expect(actor.handle.load.remote(), actor, self._admit)

    def _admit(self, actor: Actor, ref: Any) -> None:
        try:
            warm_up = ray.get(ref)
        except ray.exceptions.RayError as error:
            self._fail(actor, error)
        else:
            self._failed_starts = 0
            actor.is_ready = True
            line = f"a model's process is ready on node {actor.node}"
            n_ready = len(self.ready)
            self._log.detail("actor_ready", line, node=actor.node, actors=n_ready, warm_up=warm_up)
            self._on_ready(actor)

    def _fail(self, actor: Actor, error: ray.exceptions.RayError) -> None:
        reason = describe_ray_error(error)
        self.lose(actor, reason)
        self._failed_starts += 1
        if isinstance(getattr(error, "cause", None), HostError) and actor.node:
            self.node_failed(actor.node, reason)
        told = f"the model's process failed to start: {reason}"
        if isinstance(getattr(error, "cause", None), DriftError):
            raise DriftError(reason) from error
        if isinstance(getattr(error, "cause", None), CredentialsError):
            raise CredentialsError(reason) from error
        # A node may be broken; that of others shows when they have their model, too.
        if self._failed_starts >= MAX_ATTEMPTS and not any(each.node for each in self._actors):
            raise PipelineError(f"{told} ({self._failed_starts} times)") from error
        line = f"{told}; trying again"
        self._log.report("actor_not_started", line, "warning", node=actor.node, reason=reason)

    def _report_unschedulable(self) -> None:
        if not self._actors or any(actor.node for actor in self._actors):
            self._no_room_since_s = None
        elif self._no_room_since_s is None:
            self._no_room_since_s = time.monotonic()
        elif 0 < self._no_room_since_s < time.monotonic() - NO_ROOM_S:
            self._no_room_since_s = 0.0  # it is said once
            what = f"{self._plan.gpus:g} GPU (--gpus-per-actor)" if self._plan.gpus else "CPUs"
            line = f"no node has room for an actor with {what} yet; waiting for one"
            self._log.report("no_room", line, "warning", gpus=self._plan.gpus)

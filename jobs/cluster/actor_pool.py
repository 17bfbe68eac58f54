"""The actors of a run: requested from Ray, ready once they have loaded the model, and killed.

Ray answers late, or never, while no node has room for an actor. So the node of an actor and its
loaded model are two separate calls. An actor without a node has done nothing yet, and can be killed
at no loss.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import ray

from jobs.cluster.actor import EmbedActor
from jobs.cluster.actor_plan import ActorPlan
from jobs.cluster.node_labels import exclude_nodes, select_node
from jobs.cluster.pending_calls import PendingCalls
from jobs.cluster.pool_size import PoolSizer
from jobs.cluster.ray_errors import describe_ray_error
from jobs.cluster.shard_task import MAX_ATTEMPTS
from jobs.runtime.run_log import RunLog
from jobs.worker.run_model import RunSpec
from pipeline.errors import CredentialsError, DriftError, HostError, PipelineError

REPORT_NO_ROOM_S = 60.0
"""Time in seconds without room for the first actor after which the run logs a warning."""


@dataclass(eq=False)
class Actor:
    """An actor, from its request until it is killed.

    Attributes:
        handle: Ray's handle of the actor.
        excluded_nodes: IDs of the nodes that were excluded when the actor was requested.
        target: ID of the node that the actor is meant for; empty if Ray chooses the node.
        node: ID of the node that the actor is on; empty until Ray has found room for it.
        is_ready: Whether the actor has loaded its model.
    """

    handle: Any
    excluded_nodes: frozenset[str]
    target: str = ""
    node: str = ""
    is_ready: bool = False


class ActorPool:
    """The actors of a run.

    Args:
        run: Description of the run, which every actor receives.
        plan: Number and size of the actors.
        calls: The run's calls in flight, to which the pool adds its own.
        on_ready: Callback that receives each actor once it has loaded its model.
        log: The run's log.
    """

    def __init__(
        self,
        run: RunSpec,
        plan: ActorPlan,
        calls: PendingCalls,
        on_ready: Callable[[Actor], None],
        log: RunLog,
    ) -> None:
        self._run = ray.put(run)
        self._plan = plan
        self._calls = calls
        self._on_ready = on_ready
        self._log = log
        self._sizer = PoolSizer(plan.size)
        self._class: Any = ray.remote(EmbedActor)
        self._actors: set[Actor] = set()
        self._failed_starts = 0
        self._no_room_since_s: float | None = None

    @property
    def ready(self) -> list[Actor]:
        """The actors that have loaded their model."""
        return [actor for actor in self._actors if actor.is_ready]

    def nodes_with_actors(self) -> frozenset[str]:
        """Return the IDs of the nodes that have an actor, ready or still starting."""
        nodes = {actor.node or actor.target for actor in self._actors}
        return frozenset(nodes - {""})

    @property
    def size(self) -> int:
        """Number of actors that share the shards, including initial actors that are starting."""
        return max(len(self.ready), self._plan.size.n_initial)

    @property
    def starting(self) -> list[Actor]:
        """The actors that have not loaded their model yet."""
        return [actor for actor in self._actors if not actor.is_ready]

    def grow(self, n_waiting: int) -> None:
        """Start the actors that are missing, and replace pending actors meant for other nodes.

        Args:
            n_waiting: Number of shards that no actor has begun.
        """
        self._report_unschedulable()
        excluded = self._sizer.excluded_nodes(time.monotonic())
        pending = [actor for actor in self.starting if not actor.node]
        alive = self._plan.nodes() if any(actor.target for actor in pending) else {}
        for actor in pending:
            # The request names nodes to exclude that have changed, or a target that is gone.
            if actor.excluded_nodes != excluded or (actor.target and actor.target not in alive):
                self.kill(actor)
        faulty = self._sizer.faulty_nodes(time.monotonic())
        n_ready = sum(actor.node not in faulty for actor in self.ready)
        if n_ready and not self._plan.gpus:
            # CPU actors on faulty nodes are not replaced: each other node has an actor already,
            # and a second one would compete with it for the node's CPUs.
            n_ready = len(self.ready)
        n_missing = self._sizer.n_to_start(len(self.starting), n_ready, n_waiting)
        if not n_missing:
            return
        nodes = self._plan.nodes()
        fit = {node for node, has_room in nodes.items() if has_room}
        if fit and excluded.issuperset(fit):
            return
        for _ in range(n_missing):
            target = "" if self._plan.gpus or not fit else self._least_loaded(fit - excluded)
            self._start(excluded, target)

    def _least_loaded(self, nodes: Collection[str]) -> str:
        """Return the node with the fewest actors, running or meant for it."""
        n_actors = Counter(actor.node or actor.target for actor in self._actors)
        return min(sorted(nodes), key=lambda node: n_actors[node])

    def kill(self, actor: Actor) -> None:
        """Kill an actor, whatever it is doing, and forget its calls."""
        ray.kill(actor.handle)
        self._actors.discard(actor)
        self._calls.forget(actor)

    def remove_dead(self, actor: Actor, reason: str) -> None:
        """Remove an actor that died or does not answer, and count the death against its node.

        Args:
            actor: The actor.
            reason: Description of the death, in one line.
        """
        self.kill(actor)  # an actor that does not answer may still be running
        self._sizer.record_death(actor.node, time.monotonic())
        line = f"a model process is lost: {reason}"
        self._log.detail("actor_lost", line, "warning", node=actor.node, reason=reason)

    def record_success(self, actor: Actor) -> None:
        """Record that an actor has committed a shard."""
        self._sizer.record_commit(actor.node)

    def is_faulty(self, node: str) -> bool:
        """Return whether a node is excluded because of a fault of its own."""
        return node in self._sizer.faulty_nodes(time.monotonic())

    def record_node_fault(self, node: str, reason: str) -> frozenset[str]:
        """Exclude a node that has a fault of its own, such as a full disk, for some time.

        Args:
            node: ID of the node.
            reason: Description of the fault, in one line.

        Returns:
            The IDs of all nodes that can have actors.

        Raises:
            HostError: All of these nodes have had repeated faults without a commit between.
        """
        if not self.is_faulty(node):
            self._sizer.record_fault(node, time.monotonic())
            line = f"node {node} is excluded for a while: {reason}"
            self._log.report("node_failed", line, "warning", node=node, reason=reason)
        fit = frozenset(name for name, has_room in self._plan.nodes().items() if has_room)
        if self._sizer.is_hopeless(fit):
            raise HostError(
                f"no node is left that can embed: {reason}; the same command continues the run"
            )
        return fit

    def kill_all(self) -> None:
        """Kill all actors."""
        for actor in list(self._actors):
            self.kill(actor)

    def _start(self, excluded: frozenset[str], target: str) -> None:
        options = dict(self._plan.options)
        if target:
            # Ray ignores node affinity for an actor without resources, such as an actor on CPUs.
            options["label_selector"] = select_node(target)
        elif excluded:
            options["label_selector"] = exclude_nodes(excluded)
        handle = self._class.options(**options).remote(self._run, self._plan.n_threads)
        actor = Actor(handle, excluded, target)
        self._actors.add(actor)
        self._calls.add(handle.node.remote(), actor, self._on_placed)

    def _on_placed(self, actor: Actor, ref: Any) -> None:
        try:
            actor.node = ray.get(ref)
        except ray.exceptions.RayError as error:
            self._on_failed_start(actor, error)
            return
        if actor.node in self._sizer.excluded_nodes(time.monotonic()):
            self.kill(actor)  # the node was excluded after the actor was requested
        else:
            self._calls.add(actor.handle.load.remote(), actor, self._on_loaded)

    def _on_loaded(self, actor: Actor, ref: Any) -> None:
        try:
            warm_up = ray.get(ref)
        except ray.exceptions.RayError as error:
            self._on_failed_start(actor, error)
        else:
            self._failed_starts = 0
            actor.is_ready = True
            line = f"a model process is ready on node {actor.node}"
            n_ready = len(self.ready)
            self._log.detail("actor_ready", line, node=actor.node, actors=n_ready, warm_up=warm_up)
            self._on_ready(actor)

    def _on_failed_start(self, actor: Actor, error: ray.exceptions.RayError) -> None:
        reason = describe_ray_error(error)
        self.remove_dead(actor, reason)
        self._failed_starts += 1
        if isinstance(getattr(error, "cause", None), HostError) and actor.node:
            self.record_node_fault(actor.node, reason)
        message = f"a model process failed to start: {reason}"
        if isinstance(getattr(error, "cause", None), DriftError):
            raise DriftError(reason) from error
        if isinstance(getattr(error, "cause", None), CredentialsError):
            raise CredentialsError(reason) from error
        # A single node may be broken: actors on other nodes, if any, may still load their model.
        if self._failed_starts >= MAX_ATTEMPTS and not any(each.node for each in self._actors):
            raise PipelineError(f"{message} ({self._failed_starts} times)") from error
        line = f"{message}; retrying"
        self._log.report("actor_not_started", line, "warning", node=actor.node, reason=reason)

    def _report_unschedulable(self) -> None:
        if not self._actors or any(actor.node for actor in self._actors):
            self._no_room_since_s = None
        elif self._no_room_since_s is None:
            self._no_room_since_s = time.monotonic()
        elif 0 < self._no_room_since_s < time.monotonic() - REPORT_NO_ROOM_S:
            self._no_room_since_s = 0.0  # the warning is logged only once
            resources = f"{self._plan.gpus:g} GPU (--gpus-per-actor)" if self._plan.gpus else "CPUs"
            line = f"no node has room for an actor with {resources} yet; waiting for one"
            self._log.report("no_room", line, "warning", gpus=self._plan.gpus)

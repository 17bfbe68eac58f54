"""The plan of a run's actors on a Ray cluster: their number, their size and their nodes."""

import math
from dataclasses import dataclass
from typing import Any

import ray

from jobs.cluster.connection import ClusterOptions
from jobs.cluster.pool_size import PoolLimits
from pipeline.errors import UsageError
from pipeline.wording import count

CPU_SLOTS = 2
MAX_GPU_SLOTS = 32
"""Most shards that an actor may have open, on a CPU and on a GPU."""


@dataclass(frozen=True, slots=True)
class ActorPlan:
    """The number and size of a run's actors.

    Attributes:
        size: Number of actors at first, and whether it may grow.
        options: Ray options of the actor class.
        gpus: GPUs per actor; 0 if the actors compute on CPUs.
        n_threads: Number of torch threads per actor on a CPU.
        timeout_s: Time in seconds without an answer after which an actor counts as dead.
    """

    size: PoolLimits
    options: dict[str, Any]
    gpus: float
    n_threads: int
    timeout_s: float

    def n_slots(self, n_actors: int) -> int:
        """Return the number of shards that each actor may have open, each with its own decoder.

        Args:
            n_actors: Number of actors that share the cluster's CPUs for decoding.
        """
        if not self.gpus:
            return CPU_SLOTS  # one shard is decoded while the other is written
        # A GPU is faster than the decoders, so its actor gets its whole share of the CPUs.
        return min(max(2, int(_resources().get("CPU", 1)) // max(1, n_actors)), MAX_GPU_SLOTS)

    def nodes(self) -> dict[str, bool]:
        """Return the IDs of the live nodes, and whether an actor fits on each when it is empty."""
        resource, required = ("GPU", self.gpus) if self.gpus else ("CPU", 1)
        return {
            node["NodeID"]: node["Resources"].get(resource, 0) >= required
            for node in ray.nodes()  # type: ignore[no-untyped-call]
            if node["Alive"]
        }


def actor_plan(options: ClusterOptions, n_shards: int, precision: str = "fp32") -> ActorPlan:
    """Plan the actors of a run on the Ray cluster that this process is connected to.

    Args:
        options: Number of actors and GPUs per actor, as given by the user.
        n_shards: Number of shards of the run; no more actors are started at first.
        precision: Precision of the model, which must fit the device.

    Raises:
        UsageError: A local Ray has too few GPUs, or the precision does not fit the device.
    """
    n_gpus = int(_resources().get("GPU", 0))
    is_local = options.address == "local"
    gpus = options.gpus_per_actor
    if gpus is None:
        gpus = 1.0 if n_gpus else 0.0
    if gpus and precision == "int8":
        raise UsageError(
            "--precision int8 is for CPUs, and the actors have GPUs; use bf16, or "
            "--gpus-per-actor 0"
        )
    if not gpus and precision == "tf32":
        raise UsageError(
            "--precision tf32 is for GPUs, and the actors have none; use fp32 or bf16, or "
            "--gpus-per-actor 1"
        )
    n_actors = None if options.actors == "auto" else int(options.actors)
    if gpus and is_local and n_gpus < (n_actors or 1) * gpus:
        raise UsageError(explain_too_few_gpus(n_actors, gpus, n_gpus))
    cpus = [int(n["Resources"].get("CPU", 0)) for n in ray.nodes()]  # type: ignore[no-untyped-call]
    cpus = [n for n in cpus if n] or [1]
    n_initial = n_actors or max(1, int(n_gpus / gpus) if gpus else len(cpus))
    n_initial = min(n_initial, n_shards)
    grows = n_actors is None and bool(gpus) and not is_local
    actor_options: dict[str, Any] = {
        "num_gpus": gpus,
        # A CPU actor reserves no CPU, because on a small machine none would be left for decoders.
        # Ray then sets one OpenMP thread for the actor, which sets `n_threads` in torch instead.
        "num_cpus": 0,
        "max_concurrency": (MAX_GPU_SLOTS if gpus else CPU_SLOTS) + 4,  # room for short calls
        "max_restarts": 0,
        "max_task_retries": 0,
        "scheduling_strategy": "SPREAD",
    }
    n_threads = max(1, min(cpus) // math.ceil(n_initial / len(cpus)))
    size = PoolLimits(n_initial, grows)
    return ActorPlan(size, actor_options, gpus, n_threads, options.actor_timeout_s)


def explain_too_few_gpus(n_actors: int | None, gpus: float, n_gpus: int) -> str:
    """Return a message that says why the actors do not fit on this machine, and what would.

    Args:
        n_actors: Number of actors that was asked for; None for `auto`.
        gpus: GPUs per actor.
        n_gpus: GPUs of this machine.
    """
    asked = f"--gpus-per-actor {gpus:g}"
    if n_actors is not None and n_actors > 1:
        asked = f"--actors {n_actors} with {asked}"
    needed = count((n_actors or 1) * gpus, "GPU") if gpus >= 1 else "a GPU"
    if not n_gpus:
        return f"{asked} takes {needed}, and this machine has none; --gpus-per-actor 0 uses CPUs"
    fits = int(n_gpus / gpus)
    way_out = (
        f"use --actors {fits} or auto, or a smaller --gpus-per-actor"
        if fits
        else f"use --gpus-per-actor {n_gpus} or less"
    )
    return f"{asked} takes {needed}, and this machine has {n_gpus}; {way_out}"


def _resources() -> dict[str, float]:
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found

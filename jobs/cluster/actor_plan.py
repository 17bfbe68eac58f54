"""How many actors a run has on a Ray cluster, of what size, and on which nodes."""

import math
from dataclasses import dataclass
from typing import Any

import ray

from jobs.cluster.connection import ClusterOptions
from jobs.cluster.pool_size import PoolLimits
from pipeline.errors import UsageError
from pipeline.wording import count

CPU_SLOTS = 2
MOST_SLOTS = 32
"""Shards that an actor may have open, on a CPU and on a GPU."""


@dataclass(frozen=True, slots=True)
class ActorPlan:
    """A run's actors.

    Attributes:
        size: how many.
        options: of their remote class.
        gpus: that each has; 0 where they compute on CPUs.
        n_threads: torch threads of each on a CPU.
        timeout_s: how long one may say nothing before it is taken for dead.
    """

    size: PoolLimits
    options: dict[str, Any]
    gpus: float
    n_threads: int
    timeout_s: float

    def n_slots(self, n_actors: int) -> int:
        """Shards that each of so many actors may have open: so many decoders feed it."""
        if not self.gpus:
            return CPU_SLOTS  # one is decoded while another is written
        # A GPU takes what all decoders make.
        return min(max(2, int(_resources().get("CPU", 1)) // max(1, n_actors)), MOST_SLOTS)

    def nodes(self) -> dict[str, bool]:
        """The nodes that are there, and whether an actor has room on one that is empty."""
        kind, least = ("GPU", self.gpus) if self.gpus else ("CPU", 1)
        return {
            node["NodeID"]: node["Resources"].get(kind, 0) >= least
            for node in ray.nodes()  # type: ignore[no-untyped-call]
            if node["Alive"]
        }


def actor_plan(options: ClusterOptions, n_shards: int, precision: str = "fp32") -> ActorPlan:
    """How many actors, of which size.

    Raises:
        UsageError: a Ray of our own has too few GPUs for so many, or a precision needs CPUs.
    """
    n_gpus = int(_resources().get("GPU", 0))
    is_ours = options.address == "local"
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
    if gpus and is_ours and n_gpus < (n_actors or 1) * gpus:
        raise UsageError(too_few_gpus(n_actors, gpus, n_gpus))
    cpus = [int(n["Resources"].get("CPU", 0)) for n in ray.nodes()]  # type: ignore[no-untyped-call]
    cpus = [n for n in cpus if n] or [1]
    at_first = n_actors or max(1, int(n_gpus / gpus) if gpus else len(cpus))
    at_first = min(at_first, n_shards)
    grows = n_actors is None and bool(gpus) and not is_ours
    actor_options: dict[str, Any] = {
        "num_gpus": gpus,
        # A CPU actor claims no CPU: on a small machine the decoders would find none left. Ray then
        # allows it one OpenMP thread; torch is asked for `n_threads` instead.
        "num_cpus": 0,
        "max_concurrency": (MOST_SLOTS if gpus else CPU_SLOTS) + 4,  # for the short calls
        "max_restarts": 0,
        "max_task_retries": 0,
        "scheduling_strategy": "SPREAD",
    }
    n_threads = max(1, min(cpus) // math.ceil(at_first / len(cpus)))
    size = PoolLimits(at_first, grows)
    return ActorPlan(size, actor_options, gpus, n_threads, options.actor_timeout_s)


def too_few_gpus(n_actors: int | None, gpus: float, n_gpus: int) -> str:
    """Return why so many actors do not fit on this machine, and what would."""
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

"""Where a run's actors run: Ray started or joined, and how many actors of what size it can hold."""

import contextlib
import logging
import math
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray._raylet import setproctitle  # type: ignore[attr-defined]

from jobs.fleet import FleetSize
from pipeline.errors import UsageError
from pipeline.storage import Storage

OBJECT_STORE_BYTES_PER_ACTOR = 256 << 20
OBJECT_STORE_BYTES_PER_CPU = 40 << 20
"""What a decoder has under way: as many packets as it may be ahead, and one."""
CONNECT_TIMEOUT_S = 10.0
CPU_SLOTS = 2
MOST_SLOTS = 32
"""Shards that an actor may have open, on a CPU and on a GPU."""
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray warns that CUDA_VISIBLE_DEVICES will be left alone where no GPU is asked for: as wanted.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Where a run's actors run.

    Attributes:
        address: `local`, `auto` or a URL.
        actors: how many, or `auto`.
        gpus_per_actor: share of a GPU, or how many, that each has; 0 for none; None for one where
            there are GPUs.
        actor_timeout_s: how long one may say nothing before it is taken for dead.
    """

    address: str
    actors: int | str
    gpus_per_actor: float | None = None
    actor_timeout_s: float = 120.0


def _check_reachable(address: str) -> None:
    """Knock at a `host:port` first: Ray itself tries for many minutes, and says nothing.

    Raises:
        OSError: nothing answers there.
    """
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "")  # which Ray then takes
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        with socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S):
            pass


def _hide_credentials(storage: Storage) -> None:
    """Overwrite the credentials in this process's command line.

    Ray keeps that of a driver in its list of jobs, and tells it with those of all large processes
    of a node that runs out of memory.
    """
    told = os.fsencode(" ".join(sys.orig_argv)).decode(errors="replace")
    shown = storage.redacted(told)
    if shown != told:
        # As long as before: what is left over of the old line would be read as empty arguments.
        setproctitle(shown.replace("***", "***" + "*" * (len(told) - len(shown)), 1))


@contextlib.contextmanager
def connected(options: ClusterOptions, storage: Storage) -> Iterator[None]:
    """Ray, within the block.

    Args:
        options: where it is.
        storage: whose credentials nobody is to read off this process.

    Raises:
        UsageError: there is none at that address.
    """
    _hide_credentials(storage)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    settings: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if options.address == "local":
        # What a dashboard would show of each task; there is none, and it costs the driver.
        os.environ.setdefault("RAY_task_events_report_interval_ms", "0")
        n_actors = 1 if options.actors == "auto" else int(options.actors)
        settings |= {
            "include_dashboard": False,
            "object_store_memory": n_actors * OBJECT_STORE_BYTES_PER_ACTOR
            + (os.cpu_count() or 1) * OBJECT_STORE_BYTES_PER_CPU,
        }
    try:
        _check_reachable(options.address)
        ray.init(address=options.address, **settings)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"address {options.address!r}: no Ray to be had there ({reason}); "
            "--address local starts one"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


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

    size: FleetSize
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
        raise UsageError(
            f"--actors {options.actors} with --gpus-per-actor {gpus:g} takes more than the "
            f"{n_gpus} GPUs of this machine; use --actors auto, or less of a GPU each"
        )
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
    size = FleetSize(at_first, grows)
    return ActorPlan(size, actor_options, gpus, n_threads, options.actor_timeout_s)


def _resources() -> dict[str, float]:
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found

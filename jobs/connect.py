"""Where a run's actors run: Ray started or joined, and how many actors of what size it can hold."""

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray._raylet import setproctitle  # type: ignore[attr-defined]

from jobs.actor import EmbedActor
from pipeline.errors import UsageError
from pipeline.storage import Storage

OBJECT_STORE_BYTES_PER_ACTOR = 256 << 20
OBJECT_STORE_BYTES_PER_CPU = 40 << 20
"""What a decoder has under way: as many packets as it may be ahead, and one."""
CONNECT_TIMEOUT_S = 10.0
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
        gpus_per_actor: share of a GPU, or how many, that each has where there are GPUs.
        actor_timeout_s: how long one may say nothing before it is taken for dead.
    """

    address: str
    actors: int | str
    gpus_per_actor: float = 1.0
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
        n_actors: how many.
        actor_class: their remote class.
        n_threads: torch threads of each on a CPU.
        n_slots: shards that each may have open: so many decoders feed it.
        timeout_s: how long one may say nothing before it is taken for dead.
    """

    n_actors: int
    actor_class: Any
    n_threads: int
    n_slots: int
    timeout_s: float


def actor_plan(options: ClusterOptions, n_shards: int, precision: str = "fp32") -> ActorPlan:
    """How many actors, of which size.

    Raises:
        UsageError: more actors are asked for than there are GPUs, or a precision that these lack.
    """
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    n_gpus, n_cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    most = int(n_gpus / options.gpus_per_actor)
    n_actors = max(1, most) if options.actors == "auto" else int(options.actors)
    if n_gpus and n_actors > most:
        raise UsageError(
            f"--actors {options.actors} with --gpus-per-actor {options.gpus_per_actor:g} takes "
            f"more than the {n_gpus} GPUs that Ray has; use --actors auto, or less of a GPU each"
        )
    if n_gpus and precision == "int8":
        raise UsageError(f"--precision int8 is for CPUs, Ray has {n_gpus} GPUs; use bf16 there")
    n_actors = min(n_actors, n_shards)
    n_threads = max(1, n_cpus // n_actors)
    # A GPU takes what all decoders make. Beside a model on a CPU one decodes while one is written.
    n_slots = max(2, n_cpus // n_actors) if n_gpus else 2
    remote: Any = ray.remote(EmbedActor)
    actor_class = remote.options(
        num_gpus=options.gpus_per_actor if n_gpus else 0,
        # A CPU actor claims no CPU: on a small machine the decoders would find none left. Ray then
        # allows it one OpenMP thread; torch is asked for `n_threads` instead.
        num_cpus=0,
        max_concurrency=n_slots + 2,
        max_restarts=0,
        max_task_retries=0,
        scheduling_strategy="SPREAD",
    )
    return ActorPlan(n_actors, actor_class, n_threads, n_slots, options.actor_timeout_s)

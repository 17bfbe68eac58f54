"""A connection to Ray, started for the run or joined, that exposes no credentials or local code."""

import atexit
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants
from ray._raylet import setproctitle  # type: ignore[attr-defined]
from ray.job_config import JobConfig

import jobs
from jobs.cluster.local_ray import LocalRay
from jobs.cluster.ray_address import check_reachable
from jobs.runtime.process_title import redact_command_line
from pipeline.errors import UsageError
from pipeline.io.storage import Storage, first_line

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # An actor without GPUs keeps CUDA_VISIBLE_DEVICES. This is intended, so Ray need not warn.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_UV_RUN_VARIABLE = "RAY_ENABLE_UV_RUN_RUNTIME_ENV"


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """The cluster of a run, and the actors to start there.

    Attributes:
        address: `local`, `auto` or a URL.
        actors: Number of actors, or `auto`.
        gpus_per_actor: GPUs per actor, also a fraction; 0 for none; None for one GPU if the cluster
            has GPUs.
        actor_timeout_s: Time in seconds without an answer after which an actor counts as dead.
    """

    address: str
    actors: int | str
    gpus_per_actor: float | None = None
    actor_timeout_s: float = 120.0


class _InstalledCodeJobConfig(JobConfig):
    """A job configuration whose workers import only the installed passtream.

    Unless a job has a working directory, Ray puts the driver's current folder and the folder of its
    script first on the `sys.path` of all workers. The current folder may be a corpus that contains
    an unrelated `numpy.py` or `models/`. The root of a checkout is put on the path explicitly,
    because workers would not find it otherwise.
    """

    def __init__(self) -> None:
        super().__init__(_py_driver_sys_path=_checkout_path())

    def _runtime_env_has_working_dir(self) -> bool:
        return True


def _checkout_path() -> list[str]:
    """Return the root of the checkout that passtream runs from; empty if it is installed."""
    root = Path(jobs.__file__).resolve().parent.parent
    return [str(root)] if (root / "pyproject.toml").exists() else []


def _hide_credentials(storage: Storage) -> None:
    """Overwrite the credentials in this process's command line.

    Ray stores the driver's command line in its list of jobs. It also reports the command lines of
    large processes when a node runs out of memory.
    """
    if redact_command_line(storage.redact):
        return
    title = os.fsencode(" ".join(sys.orig_argv)).decode(errors="replace")
    redacted = storage.redact(title)
    if redacted != title:
        # The length stays the same, as the rest of the old title would read as empty arguments.
        setproctitle(redacted.replace("***", "***" + "*" * (len(title) - len(redacted)), 1))


@contextlib.contextmanager
def ray_session(
    options: ClusterOptions, storage: Storage, warn: Callable[[str], None] = lambda _: None
) -> Iterator[None]:
    """Open a connection to Ray for the block, and start Ray if the address is `local`.

    Args:
        options: Address of the cluster, and the actors that a local Ray must have room for.
        storage: Storage options with the credentials to hide in this process's command line.
        warn: Function that receives a line for the user about this machine's settings.

    Raises:
        UsageError: There is no Ray cluster at that address, or a local Ray does not start.
    """
    _hide_credentials(storage)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if _UV_RUN_VARIABLE not in os.environ:
        # Under `uv run`, Ray would send the current folder to all workers and import from it.
        ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False
    settings: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    with contextlib.ExitStack() as stack:
        if options.address == "local":
            # Task events are for a dashboard. There is none, and reporting slows down the driver.
            os.environ.setdefault("RAY_task_events_report_interval_ms", "0")
            n_actors = 1 if options.actors == "auto" else int(options.actors)
            settings |= stack.enter_context(LocalRay(n_actors, warn).settings())
        else:
            check_reachable(options.address)
        if not options.address.startswith("ray://"):
            # A job of Ray Client runs elsewhere, so no folder of this machine is on its path.
            settings["job_config"] = _InstalledCodeJobConfig()
        try:
            _init(options.address, settings)
        except Exception as error:  # Ray also raises plain Exception
            raise UsageError(_unreachable(options.address, error)) from error
        # colorama, which Ray loads, would write an escape code at exit, also to dumb terminals.
        if colorama := sys.modules.get("colorama.initialise"):
            atexit.unregister(colorama.reset_all)
        stack.callback(ray.shutdown)
        yield


def _init(address: str, settings: dict[str, Any]) -> None:
    """Start or join Ray, and retry a local start once, as it can time out on a busy machine."""
    try:
        ray.init(address=address, **settings)
    except (OSError, ValueError, RuntimeError):
        raise
    except Exception:
        # "The current node timed out during startup": the timeout of 30 s cannot be configured.
        if address != "local":
            raise
        ray.shutdown()
        ray.init(address=address, **settings)


def _unreachable(address: str, error: Exception) -> str:
    if address == "local":
        return f"Ray does not start on this machine ({first_line(error)}); --in-process needs none"
    return (
        f"address {address!r}: no Ray cluster reachable there ({first_line(error)}); "
        "--address local starts one"
    )

"""Ray, started for a run or joined: where it is, and what of this machine it gets to see."""

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
from jobs.cluster.ray_address import check_answers
from jobs.runtime.process_title import hide_more
from pipeline.errors import UsageError
from pipeline.io.storage import Storage, first_line

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray warns that CUDA_VISIBLE_DEVICES will be left alone where no GPU is asked for: as wanted.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_UV_RUN_VARIABLE = "RAY_ENABLE_UV_RUN_RUNTIME_ENV"


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


class _OwnCodeAlone(JobConfig):
    """A job whose workers import passtream as it is installed, and nothing of other folders.

    Ray puts the current folder of a driver, and the folder of its script, first on the `sys.path`
    of all workers, unless the job brings a working directory. A corpus may lie in that folder, with
    a `numpy.py` or a `models/` of somebody else. A checkout is not found without help: its root,
    which is ours, goes on the path.
    """

    def __init__(self) -> None:
        super().__init__(_py_driver_sys_path=_checkout())

    def _runtime_env_has_working_dir(self) -> bool:
        return True


def _checkout() -> list[str]:
    """Return the root of the checkout that passtream runs from; nothing where it is installed."""
    root = Path(jobs.__file__).resolve().parent.parent
    return [str(root)] if (root / "pyproject.toml").exists() else []


def _hide_credentials(storage: Storage) -> None:
    """Overwrite the credentials in this process's command line.

    Ray keeps that of a driver in its list of jobs, and tells it with those of all large processes
    of a node that runs out of memory.
    """
    if hide_more(storage.redact):
        return
    told = os.fsencode(" ".join(sys.orig_argv)).decode(errors="replace")
    shown = storage.redact(told)
    if shown != told:
        # As long as before: what is left over of the old line would be read as empty arguments.
        setproctitle(shown.replace("***", "***" + "*" * (len(told) - len(shown)), 1))


@contextlib.contextmanager
def ray_session(
    options: ClusterOptions, storage: Storage, tell: Callable[[str], None] = lambda _: None
) -> Iterator[None]:
    """Ray, within the block.

    Args:
        options: where it is.
        storage: whose credentials nobody is to read off this process.
        tell: Function that takes a line for the person who started the run.

    Raises:
        UsageError: there is none at that address.
    """
    _hide_credentials(storage)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if _UV_RUN_VARIABLE not in os.environ:
        # Below `uv run` Ray would send the current folder to all workers, and import from it.
        ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False
    settings: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    with contextlib.ExitStack() as stack:
        if options.address == "local":
            # What a dashboard would show of each task; there is none, and it costs the driver.
            os.environ.setdefault("RAY_task_events_report_interval_ms", "0")
            n_actors = 1 if options.actors == "auto" else int(options.actors)
            settings |= stack.enter_context(LocalRay(n_actors, tell).settings())
        else:
            check_answers(options.address)
        if not options.address.startswith("ray://"):  # a client's job has no folder of this machine
            settings["job_config"] = _OwnCodeAlone()
        try:
            _init(options.address, settings)
        except Exception as error:  # Ray raises bare ones, too
            raise UsageError(_unreachable(options.address, error)) from error
        # Ray has a code for colours written when the process ends, to terminals without them too.
        if colorama := sys.modules.get("colorama.initialise"):
            atexit.unregister(colorama.reset_all)
        stack.callback(ray.shutdown)
        yield


def _init(address: str, settings: dict[str, Any]) -> None:
    """Start or join Ray; a start on a machine that is busy is tried twice."""
    try:
        ray.init(address=address, **settings)
    except (OSError, ValueError, RuntimeError):
        raise
    except Exception:
        # "The current node timed out during startup": Ray waits for 30 s, whatever it is told.
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

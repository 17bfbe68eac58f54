"""Races: contestants take turns within one run, and their medians are compared.

On a shared machine a speed alone says little, and two that were measured one after the other not
much more.
"""

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

Contestant = Callable[[], Any]


@dataclass
class Case:
    """One piece of work and who races for it.

    Attributes:
        name: what is done.
        contestants: by name; the order is that of the turns.
        flops: floating-point operations of the work, to be done in whatever way.
        seconds: measured times by contestant.
        note: said behind the times.
    """

    name: str
    contestants: dict[str, Contestant]
    flops: float
    seconds: dict[str, list[float]] = field(default_factory=dict)
    note: str = ""

    def race(self, repeats: int, device: torch.device) -> None:
        """One unmeasured round, then `repeats` in turns."""
        for turn in range(repeats + 1):
            for name, work in self.contestants.items():
                _wait_for(device)
                started = time.perf_counter()
                work()
                _wait_for(device)
                if turn:
                    self.seconds.setdefault(name, []).append(time.perf_counter() - started)

    def median_s(self, name: str) -> float:
        """Median seconds of a contestant."""
        return statistics.median(self.seconds[name])


def machine(device: str, packages: Sequence[str] = ()) -> str:
    """What figures were measured on, in a line.

    Args:
        device: `cpu` or `cuda`.
        packages: whose versions to name beside torch's and Python's.
    """
    parts = [f"torch {torch.__version__}", f"Python {platform.python_version()}"]
    parts += [f"{name} {importlib.metadata.version(name)}" for name in packages]
    cpu = f"{_cpu_name()}, {len(os.sched_getaffinity(0))} cores, {torch.get_num_threads()} threads"
    if device == "cuda":
        return ", ".join([torch.cuda.get_device_name(), cpu, *parts])
    return ", ".join([cpu, *parts])


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0].split(":")[1].strip() if names else platform.machine()


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()

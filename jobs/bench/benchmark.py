"""Races: contestants take turns within one run, and their medians are compared.

On a shared machine a speed alone says little, and two that were measured one after the other not
much more.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch  # seconds to import, and not all races are of models

Implementation = Callable[[], Any]
Report = Callable[[str], None]
"""Takes the lines of what was measured."""


@dataclass
class Case:
    """One piece of work and who races for it.

    Attributes:
        name: what is done.
        contestants: by name; the order is that of the turns.
        flops: floating-point operations of the work, to be done in whatever way; 0 where not told.
        seconds: measured times by contestant.
        audio_s: seconds of audio that go through; 0 where there is none.
        facts: what else is to be known of the work, for JSON.
        note: the same for people, said behind the times.
    """

    name: str
    implementations: dict[str, Implementation]
    flops: float = 0.0
    seconds: dict[str, list[float]] = field(default_factory=dict)
    audio_s: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    note: str = ""

    def run(self, repeats: int, device: torch.device | None = None) -> None:
        """One unmeasured round, then `repeats` in turns; on no device where no torch is raced."""
        for turn in range(repeats + 1):
            for name, work in self.implementations.items():
                _wait_for(device)
                started = time.perf_counter()
                work()
                _wait_for(device)
                if turn:
                    self.seconds.setdefault(name, []).append(time.perf_counter() - started)

    def median_s(self, name: str) -> float:
        """Median seconds of a contestant."""
        return statistics.median(self.seconds[name])


def describe_machine(device: str, packages: Sequence[str] = ()) -> str:
    """What figures were measured on, in a line.

    Args:
        device: `cpu` or `cuda`.
        packages: whose versions to name beside torch's and Python's.
    """
    import torch

    parts = [f"torch {torch.__version__}", f"Python {platform.python_version()}"]
    parts += [f"{name} {importlib.metadata.version(name)}" for name in packages]
    cpu = f"{cpu_name()}, {torch.get_num_threads()} threads"
    if device == "cuda":
        return ", ".join([torch.cuda.get_device_name(), cpu, *parts])
    return ", ".join([cpu, *parts])


def cpu_name() -> str:
    """The processor of this machine, and how many cores of it this process may use."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
    name = names[0].split(":")[1].strip() if names else platform.machine()
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def _wait_for(device: torch.device | None) -> None:
    if device is not None and device.type == "cuda":
        import torch

        torch.cuda.synchronize()

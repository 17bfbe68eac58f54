"""Benchmark cases, in which several implementations of the same work are timed in turn.

Other processes on a shared machine change a speed from one minute to the next. A case therefore
alternates between its implementations within one run and compares their medians.
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
    import torch  # takes seconds to import, and not every benchmark needs it

Implementation = Callable[[], Any]
Report = Callable[[str], None]
"""Function that is called with each line of a report."""


@dataclass
class Case:
    """A piece of work, with the implementations that are timed on it.

    Attributes:
        name: Description of the work.
        implementations: The implementations by name, in the order in which they run.
        flops: Floating-point operations that the work needs in theory; 0 if unknown.
        seconds: Measured times of each implementation, by its name.
        audio_s: Seconds of audio that are processed; 0 for work without audio.
        facts: Further facts about the work, for JSON.
        note: The same facts as text; shown after the times.
    """

    name: str
    implementations: dict[str, Implementation]
    flops: float = 0.0
    seconds: dict[str, list[float]] = field(default_factory=dict)
    audio_s: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    note: str = ""

    def run(self, repeats: int, device: torch.device | None = None) -> None:
        """Time every implementation, in `repeats` rounds after an unmeasured one.

        Args:
            repeats: Number of measured rounds; each runs every implementation once.
            device: Device to synchronize with; None for work without torch.
        """
        for round_number in range(repeats + 1):
            for name, work in self.implementations.items():
                _synchronize(device)
                started = time.perf_counter()
                work()
                _synchronize(device)
                if round_number:
                    self.seconds.setdefault(name, []).append(time.perf_counter() - started)

    def median_s(self, name: str) -> float:
        """Return the median time of an implementation, in seconds."""
        return statistics.median(self.seconds[name])


def describe_machine(device: str, packages: Sequence[str] = ()) -> str:
    """Return a line that describes the device, the processor and the versions of packages.

    Args:
        device: `cpu` or `cuda`.
        packages: Names of packages whose versions are added to those of torch and Python.
    """
    import torch

    parts = [f"torch {torch.__version__}", f"Python {platform.python_version()}"]
    parts += [f"{name} {importlib.metadata.version(name)}" for name in packages]
    cpu = f"{cpu_name()}, {torch.get_num_threads()} threads"
    if device == "cuda":
        return ", ".join([torch.cuda.get_device_name(), cpu, *parts])
    return ", ".join([cpu, *parts])


def cpu_name() -> str:
    """Return the name of the processor and the number of cores that this process may use."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
    name = names[0].split(":")[1].strip() if names else platform.machine()
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def _synchronize(device: torch.device | None) -> None:
    if device is not None and device.type == "cuda":
        import torch

        torch.cuda.synchronize()

"""Memory that a device has in use, measured for benchmarks of the model."""

from __future__ import annotations

import resource

import torch

from jobs.bench.benchmark import Implementation


def peak_bytes(device: torch.device, work: Implementation) -> int | None:
    """Return the peak GPU memory while some work runs, weights included; None on a CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    work()
    return torch.cuda.max_memory_allocated(device)


def reserved_bytes(device: torch.device) -> int:
    """Return the GPU memory that torch has reserved; on a CPU, the process's peak memory."""
    if device.type == "cuda":
        return int(torch.cuda.memory_reserved(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

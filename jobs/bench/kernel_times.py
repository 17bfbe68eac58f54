"""Device time of each kernel, measured by torch's profiler."""

from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def kernel_times(work: Callable[[], Any], device: torch.device) -> list[dict[str, Any]]:
    """Return the time of each kernel that some work runs, longest first; of operators on a CPU.

    Args:
        work: The work; it runs twice, and only the second run is measured.
        device: Device that computes the work.

    Returns:
        For each kernel its `name`, its number of `calls`, and its total time in `seconds`.
    """
    work()
    is_cuda = device.type == "cuda"
    with profile(
        activities=[ProfilerActivity.CUDA if is_cuda else ProfilerActivity.CPU]
    ) as profiled:
        work()
    kernels = []
    for event in profiled.key_averages():
        taken_us = event.self_device_time_total if is_cuda else event.self_cpu_time_total
        if taken_us:
            kernels.append({"name": event.key, "calls": event.count, "seconds": taken_us / 1e6})
    return sorted(kernels, key=lambda each: -each["seconds"])

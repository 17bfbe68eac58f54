"""What a device spends its time on, as torch's profiler tells it."""

from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def kernel_times(work: Callable[[], Any], device: torch.device) -> list[dict[str, Any]]:
    """Return the kernels that some work runs, longest first; operators on a CPU.

    Args:
        work: The work; it is done twice, and only the second time counts.
        device: Device that it is computed on.

    Returns:
        For each kernel its `name`, its number of `calls`, and its time in all in `seconds`.
    """
    work()
    is_cuda = device.type == "cuda"
    with profile(
        activities=[ProfilerActivity.CUDA if is_cuda else ProfilerActivity.CPU]
    ) as profiled:
        work()
    found = []
    for event in profiled.key_averages():
        taken_us = event.self_device_time_total if is_cuda else event.self_cpu_time_total
        if taken_us:
            found.append({"name": event.key, "calls": event.count, "seconds": taken_us / 1e6})
    return sorted(found, key=lambda each: -each["seconds"])

"""Windows on their way to a device, beside what it computes.

On a GPU all windows of a pack go in one copy from page-locked memory, in a stream of its own: the
host runs ahead of the device, so the next pack is copied while this one is computed.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def staged(windows: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """The windows on a device.

    Args:
        windows: float32 (n_samples,) each.
        device: to go to; those that are there stay as they are.

    Returns:
        The same on the device; on a GPU they are ready when the current stream is at them.
    """
    if device.type != "cuda" or any(window.device.type != "cpu" for window in windows):
        return [window.to(device) for window in windows]
    locked = torch.empty(sum(map(len, windows)), dtype=windows[0].dtype, pin_memory=True)
    torch.cat(list(windows), out=locked)
    computing = torch.cuda.current_stream(device)
    copying = _copying_stream(device)
    with torch.cuda.stream(copying):
        samples = locked.to(device, non_blocking=True)
    computing.wait_stream(copying)
    # Its memory belongs to the stream that copied, which does not know of the one that reads it.
    samples.record_stream(computing)
    return list(torch.split(samples, [len(window) for window in windows]))


_STREAMS: dict[torch.device, torch.cuda.Stream] = {}


def _copying_stream(device: torch.device) -> torch.cuda.Stream:
    if device not in _STREAMS:
        _STREAMS[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return _STREAMS[device]

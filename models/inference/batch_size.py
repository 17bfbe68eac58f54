"""How many windows a GPU takes at a time: as many as make it faster, and no more.

Larger batches cost memory and keep their first window waiting; beyond some size they gain nothing.
Which size that is, a process finds out by trying, and leaves it in the cache for the next ones on
such a device.
"""

import contextlib
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.checkpoints.model_store import replacing
from models.checkpoints.published import cache_dir

GAIN = 1.01
"""Less than this a larger batch is not worth its memory."""
_ROUNDS = 3
_HOP_SAMPLES = 8_000


def find_batch(rate: Callable[[int], float], most: int) -> int:
    """The smallest of 1, 2, 4, ... windows that no larger batch is faster than by `GAIN`.

    Args:
        rate: windows a second in batches of so many; raises `torch.OutOfMemoryError` where these
            are too large.
        most: the largest batch to try.
    """
    rates: dict[int, float] = {}
    n = 1
    while n <= most:
        try:
            rates[n] = rate(n)
        except torch.OutOfMemoryError:
            break
        n = most if n < most < 2 * n else 2 * n
    best = max(rates.values(), default=0.0)
    return min((n for n, found in rates.items() if found * GAIN >= best), default=1)


def windows_per_s(
    embed: Callable[[Sequence[Tensor]], Any], n: int, n_samples: int, device: torch.device
) -> float:
    """Windows a second in batches of n, the median of some after a first one; of noise.

    Args:
        embed: launches what embeds windows.
        n: of a batch.
        n_samples: of a window.
        device: that it is computed on.
    """
    noise = torch.randn(n_samples + n * _HOP_SAMPLES, generator=torch.Generator().manual_seed(0))
    windows = list((0.1 * noise).unfold(0, n_samples, _HOP_SAMPLES)[:n])
    seconds = []
    for _ in range(1 + _ROUNDS):
        started = time.perf_counter()
        embed(windows)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return n / statistics.median(seconds[1:])


def batch_key(device: torch.device, arch: str, precision: str, n_samples: int) -> str:
    """What a batch size is remembered by: all that it depends on but the memory that is free."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{name}, torch {torch.__version__}, {arch}, {precision}, {n_samples} samples"


def remembered_batch(key: str) -> int | None:
    """The batch size found under this key by an earlier process; None if by none."""
    found = _remembered().get(key)
    return found if type(found) is int and found > 0 else None


def remember_batch(key: str, batch: int) -> None:
    """Leave a batch size for later processes; where that cannot be, they find it anew."""
    with contextlib.suppress(OSError), replacing(_file()) as file:
        file.write(json.dumps({**_remembered(), key: batch}, indent=1).encode())


def _remembered() -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(_file().read_bytes())
        return found if isinstance(found, dict) else {}
    return {}


def _file() -> Path:
    return cache_dir() / "batch_sizes.json"

"""The number of windows per batch on a GPU: the smallest that is about as fast as any larger one.

Larger batches cost memory and delay the results of their first windows; beyond some size they are
no faster. A process finds the best size by measuring, and saves it in the cache for later processes
on the same kind of device.
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
"""Factor by which a larger batch must be faster to be worth its memory."""
_ROUNDS = 3
"""Number of measured runs of a batch, after one unmeasured run."""
_HOP_SAMPLES = 8_000
"""Samples from one window of a measured batch to the next; the windows overlap."""


def find_batch_size(rate: Callable[[int], float], max_windows: int) -> int:
    """Return the smallest batch size that no larger one beats by a factor of `GAIN`.

    The sizes tried are 1, 2, 4, ... and `max_windows`, until the device runs out of memory.

    Args:
        rate: Measures the windows per second in batches of a given size. Raises
            `torch.OutOfMemoryError` if the batch does not fit into memory.
        max_windows: Largest batch size to try.
    """
    rates: dict[int, float] = {}
    n = 1
    while n <= max_windows:
        try:
            rates[n] = rate(n)
        except torch.OutOfMemoryError:
            break
        n = max_windows if n < max_windows < 2 * n else 2 * n
    best = max(rates.values(), default=0.0)
    return min((n for n, measured in rates.items() if measured * GAIN >= best), default=1)


def measure_windows_per_s(
    embed: Callable[[Sequence[Tensor]], Any], n_windows: int, n_samples: int, device: torch.device
) -> float:
    """Measure the windows per second in batches of noise, as the median of several runs.

    A first run, which includes set-up, does not count.

    Args:
        embed: Embeds a batch; may return before the device is done.
        n_windows: Windows per batch.
        n_samples: Samples per window.
        device: Device that computes the batch.
    """
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(n_samples + n_windows * _HOP_SAMPLES, generator=generator)
    windows = list(noise.unfold(0, n_samples, _HOP_SAMPLES)[:n_windows])
    seconds = []
    for _ in range(1 + _ROUNDS):
        started = time.perf_counter()
        embed(windows)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return n_windows / statistics.median(seconds[1:])


def batch_size_key(device: torch.device, arch: str, precision: str, n_samples: int) -> str:
    """Return the cache key of a batch size, which names all that it depends on but free memory."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{name}, torch {torch.__version__}, {arch}, {precision}, {n_samples} samples"


def load_batch_size(key: str) -> int | None:
    """Return the batch size that an earlier process saved under a key, or None."""
    found = _read_cache().get(key)
    return found if type(found) is int and found > 0 else None


def save_batch_size(key: str, batch_size: int) -> None:
    """Save a batch size for later processes; if the cache is not writable, they measure again."""
    with contextlib.suppress(OSError), replacing(_cache_file()) as file:
        file.write(json.dumps({**_read_cache(), key: batch_size}, indent=1).encode())


def _read_cache() -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(_cache_file().read_bytes())
        return found if isinstance(found, dict) else {}
    return {}


def _cache_file() -> Path:
    return cache_dir() / "batch_sizes.json"

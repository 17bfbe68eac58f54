"""Windows on their way to a device, beside what it computes.

Samples that windows share, as overlapping ones of a clip do, are copied once; each window is cut
from them on the device. On a GPU the samples of a pack go in one copy from page-locked memory, in
a stream of its own: the host runs ahead of the device, so the next pack is copied while this one
is computed. The page-locked memory comes from torch's caching allocator, which hands a block out
again once the copies out of it are done. Samples travel as float32: rounded to 16 bits they would
be half the bytes, but other embeddings, by up to 4e-3 where recordings are resampled.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from models.passt.pack_layout import small_tensor


class StagedWindows(NamedTuple):
    """Windows on a device.

    Attributes:
        samples: float32 (n,), what the windows are cut from.
        offsets: int32 (n_windows,), where each begins in them.
    """

    samples: Tensor
    offsets: Tensor


def stage(windows: Sequence[Tensor], device: torch.device) -> StagedWindows:
    """Put windows on a device.

    Args:
        windows: float32 (n_samples,) each, contiguous; at least one.
        device: to go to.

    Returns:
        Their samples; on a GPU they are ready when the current stream is at them.
    """
    if any(window.device.type != "cpu" for window in windows):
        windows = [window.to(device) for window in windows]
    pieces, offsets = deduplicate(windows)
    if device.type == "cuda" and pieces[0].device.type == "cpu":
        samples = _copied(pieces, device)
    else:
        samples = (pieces[0] if len(pieces) == 1 else torch.cat(pieces)).to(device)
    return StagedWindows(samples, small_tensor(offsets, torch.int32, device))


def deduplicate(windows: Sequence[Tensor]) -> tuple[list[Tensor], list[int]]:
    """Windows without the samples that they share.

    Args:
        windows: (n_samples,) each, contiguous, of one dtype and on one device; views of one another
            or not.

    Returns:
        Pieces that, one after another, hold every window; and where in them each one begins.
    """
    pieces: list[Tensor] = []
    offsets = [0] * len(windows)
    total = run_start = run_offset = covered = 0
    for row in sorted(range(len(windows)), key=lambda row: windows[row].data_ptr()):
        window = windows[row]
        width, start = window.element_size(), window.data_ptr()
        if start >= covered or (start - run_start) % width:
            run_start, run_offset, covered = start, total, start
        offsets[row] = run_offset + (start - run_start) // width
        n_new = (start - covered) // width + len(window)
        if n_new > 0:
            pieces.append(window[-n_new:])
            total += n_new
            covered += n_new * width
    return pieces, offsets


def _copied(pieces: Sequence[Tensor], device: torch.device) -> Tensor:
    locked = torch.empty(sum(map(len, pieces)), dtype=pieces[0].dtype, pin_memory=True)
    torch.cat(list(pieces), out=locked)
    computing = torch.cuda.current_stream(device)
    copying = _copying_stream(device)
    with torch.cuda.stream(copying):
        samples = locked.to(device, non_blocking=True)
    computing.wait_stream(copying)
    # Its memory belongs to the stream that copied, which does not know of the one that reads it.
    samples.record_stream(computing)
    return samples


_STREAMS: dict[torch.device, torch.cuda.Stream] = {}


def _copying_stream(device: torch.device) -> torch.cuda.Stream:
    if device not in _STREAMS:
        _STREAMS[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return _STREAMS[device]
